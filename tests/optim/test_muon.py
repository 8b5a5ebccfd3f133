"""Muon on the blocks' matrices, AdamW on the rest."""

import numpy as np
import pytest

from tests.optim.test_update_rules import take_steps
from tests.strict_arrays import STRICT
from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import make_model
from tinymixer.models.resnet import ResNetConfig
from tinymixer.optim import SGD, AdamW, Muon, ParameterGroup, newton_schulz
from tinymixer.optim.newton_schulz import THREE_STEPS

CONFIG = MixerConfig(
    image_size=8, in_channels=1, patch_size=4, hidden_dim=6, tokens_mlp_dim=3, channels_mlp_dim=8, num_blocks=5
)  # 5 matrices of each shape: more than a stack


def model_parameters(dtype="float64", backend="numpy", seed=0):
    return MlpMixer(CONFIG, seed=seed, dtype=dtype, backend=backend).parameters


def is_matrix_of_a_block(name, parameters):
    return name.startswith("blocks.") and len(parameters.shape(name)) == 2


def reference(weight, gradients, rates, momentum, decay):
    """The update rule of one matrix, from its docstring."""
    velocity = np.zeros_like(weight)
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity + gradient
        direction = newton_schulz((gradient + momentum * velocity)[None], THREE_STEPS)[0]
        weight = weight - rate * decay * weight - rate * 0.2 * max(weight.shape) ** 0.5 * direction
    return weight


def test_block_matrices_follow_muon_and_everything_else_adamw():
    parameters, other = model_parameters(), model_parameters()
    first = parameters.to_numpy()
    rates = [0.02, 0.05, 0.01]
    settings = {"betas": (0.9, 0.99), "weight_decay": 0.1}
    ours = Muon(parameters, momentum=0.8, iterations=3, **settings)
    gradients = list(take_steps(ours, rates))
    list(take_steps(AdamW(other, **settings), rates))
    for name in parameters.names:
        if is_matrix_of_a_block(name, parameters):
            each = [of_step[name] for of_step in gradients]
            expected = reference(first[name], each, rates, 0.8, 0.1)
            np.testing.assert_allclose(parameters[name], expected, rtol=1e-10, atol=1e-12)
            assert np.abs(parameters[name] - other[name]).max() > 1e-3
        else:
            np.testing.assert_array_equal(parameters[name], other[name])


def test_a_kernel_is_the_matrix_that_multiplies_windows():
    parameters = make_model("resnet", ResNetConfig(image_size=8, width=3, depths="1-1"), dtype="float64").parameters
    first, each = parameters.to_numpy(), "stages.1.0.branch.convolution1.weight"
    gradients = [of_step[each] for of_step in take_steps(Muon(parameters, iterations=3, momentum=0.8), [0.02, 0.05])]
    shape = parameters.shape(each)
    assert shape == (3, 3, 3, 6)
    expected = reference(first[each].reshape(27, 6), [g.reshape(27, 6) for g in gradients], [0.02, 0.05], 0.8, 0.0)
    np.testing.assert_allclose(parameters[each].reshape(27, 6), expected, rtol=1e-10, atol=1e-12)


def test_an_update_is_as_large_as_adamw_says():
    """Root mean square 0.2 times the learning rate, whatever the size of the gradients."""
    parameters = model_parameters()
    optimizer = Muon(parameters)
    first = parameters.to_numpy()
    for name in parameters.names:
        parameters.gradient(name)[...] = 1e-4 * np.random.default_rng(len(name)).standard_normal(parameters.shape(name))
    optimizer.step(1.0)
    for name in parameters.names:
        if is_matrix_of_a_block(name, parameters):
            size = np.sqrt(np.mean((parameters[name] - first[name]) ** 2))
            rank = min(parameters.shape(name))
            assert size == pytest.approx(0.2 * np.sqrt(rank / min(parameters.shape(name))), rel=0.3)


def test_groups_choose_the_rule_the_rate_and_what_is_frozen():
    groups = [
        ParameterGroup("blocks.0.*", frozen=True),
        ParameterGroup("blocks.1.token_mixing.*", rule="adamw"),
        ParameterGroup("blocks.2.*.weight1", learning_rate_factor=0.5, weight_decay=0.0),
        ParameterGroup("stem.weight", rule="muon"),
    ]
    parameters, plain = model_parameters(), model_parameters()
    first = parameters.to_numpy()
    (each,) = take_steps(Muon(parameters, weight_decay=0.1, iterations=3, groups=groups), [0.05])
    list(take_steps(AdamW(plain, weight_decay=0.1), [0.05]))
    for name in parameters.names:
        if name.startswith("blocks.0."):
            np.testing.assert_array_equal(parameters[name], first[name])
        elif name.startswith("blocks.1.token_mixing"):
            np.testing.assert_array_equal(parameters[name], plain[name])
        elif is_matrix_of_a_block(name, parameters) or name == "stem.weight":
            special = name.startswith("blocks.2.") and name.endswith("weight1")
            rate, decay = (0.025, 0.0) if special else (0.05, 0.1)
            expected = reference(first[name], [each[name]], [rate], 0.95, decay)
            np.testing.assert_allclose(parameters[name], expected, rtol=1e-10, atol=1e-12)


def test_state_dict_goes_on_bit_for_bit_and_another_optimizers_is_refused():
    straight, restored = Muon(model_parameters("float32")), Muon(model_parameters("float32", seed=1))
    list(take_steps(straight, [0.02] * 3))
    restored.parameters.load(straight.parameters.to_numpy())
    restored.load_state_dict(straight.state_dict())
    for optimizer in (straight, restored):
        list(take_steps(optimizer, [0.01] * 2))
    np.testing.assert_array_equal(straight.parameters.values, restored.parameters.values)
    with pytest.raises(CheckpointError, match="another optimizer"):
        straight.load_state_dict(SGD(model_parameters("float32")).state_dict())


def test_generic_array_calls_alone_are_used():
    results = []
    for backend in ("numpy", STRICT):
        parameters = model_parameters("float32", backend)
        list(take_steps(Muon(parameters, clip_norm=1.0), [0.1, 0.02]))
        results.append(parameters.to_numpy())
    for name, ours in results[0].items():
        np.testing.assert_array_equal(results[1][name], ours)


def test_threads_and_stacks_change_nothing(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    one, several = model_parameters("float32"), model_parameters("float32")
    for parameters in (one, several):
        parameters.gradients[...] = np.random.default_rng(1).standard_normal(parameters.gradients.shape)
    Muon(one).step(0.02)
    monkeypatch.setattr("tinymixer.optim.muon.STACK", 1)
    with ThreadPoolExecutor(3) as pool:
        Muon(several).step(0.02, pool.map)
    np.testing.assert_allclose(several.values, one.values, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Muon(p, momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda p: Muon(p, iterations=4), "3 or 5, got 4"),
        (lambda p: Muon(p, matrices=["layers.*"]), "no trained one has a name that fits 'layers.*'"),
        (lambda p: Muon(p, groups=[ParameterGroup("blocks.*", frozen=True)]), "no trained one"),
        (lambda p: Muon(p, groups=[ParameterGroup("head.bias", rule="muon")]), "'head.bias' has the shape"),
        (lambda p: AdamW(p, groups=[ParameterGroup("head.*", rule="adamw")]), "needs optimizer = 'muon'"),
        (lambda p: ParameterGroup("head.*", rule="Muon"), "Did you mean 'muon'"),
        (lambda p: ParameterGroup("head.*", rule="muon", frozen=True), "is frozen"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make, message):
    with pytest.raises(ConfigError, match=message):
        make(model_parameters())
