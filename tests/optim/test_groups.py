"""Parameter groups: every group as if it were trained by an optimizer of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import ConfigError
from tinymixer.optim import SGD, AdamW, ParameterGroup
from tinymixer.optim.groups import Setting
from tinymixer.parameters import BufferSpec, Parameters, ParameterSpec


def draw(generator, shape):
    return generator.standard_normal(shape)


SHAPES = {
    "stem.weight": (3, 5),
    "stem.bias": (5,),
    "blocks.0.weight": (4, 4),
    "blocks.0.bias": (4,),
    "head.weight": (5, 7),
    "head.bias": (7,),
}
MAKERS = {
    "sgd": lambda p, **k: SGD(p, nesterov=True, **k),
    "decoupled": lambda p, **k: SGD(p, decoupled=True, **k),
    "adamw": lambda p, **k: AdamW(p, **k),
}


def make_parameters(dtype="float64", backend="numpy", names=tuple(SHAPES)):
    """Parameters of those names alone; a name's first values and gradients are the same whichever others are there."""
    parameters = Parameters({name: ParameterSpec(SHAPES[name], draw) for name in names}, backend, dtype)
    parameters.load({name: drawn(name, "values") for name in names})
    return parameters


def drawn(name, purpose):
    return np.random.default_rng(list((name + purpose).encode())).standard_normal(SHAPES[name])


def take_steps(optimizer, learning_rates=(0.1, 0.02, 0.3)):
    for step, learning_rate in enumerate(learning_rates):
        gradients = {name: drawn(name, f"step {step}") for name in optimizer.parameters.names}
        optimizer.parameters.load(gradients, into=optimizer.parameters.gradients)
        optimizer.step(learning_rate)
    return optimizer.parameters.to_numpy()


@settings(deadline=None)
@given(
    rule=st.sampled_from(list(MAKERS)),
    factor=st.floats(0, 3),
    weight_decay=st.floats(0, 0.5),
    own_decay=st.floats(0, 0.5),
    decay=st.sampled_from(["matrices", "all"]),
)
def test_each_group_is_trained_as_by_an_optimizer_of_its_own(rule, factor, weight_decay, own_decay, decay):
    make = MAKERS[rule]
    groups = [
        ParameterGroup("blocks.0.bias", frozen=True),
        ParameterGroup("blocks.*", learning_rate_factor=factor),
        ParameterGroup("head.*", weight_decay=weight_decay),
    ]
    together = take_steps(make(make_parameters(), weight_decay=own_decay, decay=decay, groups=groups))
    rates = (0.1, 0.02, 0.3)
    alone = {
        ("stem.weight", "stem.bias"): (own_decay, rates),
        ("blocks.0.weight",): (own_decay, [rate * factor for rate in rates]),
        ("head.weight", "head.bias"): (weight_decay, rates),
    }
    for names, (strength, own_rates) in alone.items():
        expected = take_steps(make(make_parameters(names=names), weight_decay=strength, decay=decay), own_rates)
        for name in names:
            np.testing.assert_allclose(together[name], expected[name], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(together["blocks.0.bias"], drawn("blocks.0.bias", "values"))


@pytest.mark.parametrize("rule", list(MAKERS))
@pytest.mark.parametrize("gradient", [1e6, np.nan])
def test_what_is_frozen_never_changes_and_does_not_count(rule, gradient):
    names = [name for name in SHAPES if not name.startswith("stem.")]
    frozen = MAKERS[rule](
        make_parameters(), weight_decay=0.1, decay="all", clip_norm=0.5, groups=[ParameterGroup("stem.*", frozen=True)]
    )
    alone = MAKERS[rule](make_parameters(names=names), weight_decay=0.1, decay="all", clip_norm=0.5)
    norms = []
    for optimizer in (frozen, alone):
        parameters = optimizer.parameters
        parameters.load({name: drawn(name, "gradient") for name in parameters.names}, into=parameters.gradients)
        if "stem.bias" in parameters:
            parameters.gradient("stem.bias")[...] = gradient
        norms.append(optimizer.step(0.1))
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    for name in SHAPES:
        expected = alone.parameters[name] if name in names else drawn(name, "values")
        np.testing.assert_allclose(frozen.parameters[name], expected, rtol=1e-12)
    for vector in frozen.state.values():
        assert not frozen.parameters.views_of(vector)["stem.bias"].any()


@pytest.mark.parametrize("rule", list(MAKERS))
def test_groups_that_ask_for_nothing_special_change_no_bit(rule):
    keywords = {"weight_decay": 0.1, "clip_norm": 1.0}
    plain = take_steps(MAKERS[rule](make_parameters("float32"), **keywords))
    grouped = take_steps(
        MAKERS[rule](make_parameters("float32"), groups=[ParameterGroup("*", learning_rate_factor=1.0)], **keywords)
    )
    for name in SHAPES:
        np.testing.assert_array_equal(plain[name], grouped[name])


def test_the_first_pattern_that_fits_wins():
    groups = [ParameterGroup("head.bias", learning_rate_factor=0), ParameterGroup("head.*", learning_rate_factor=2)]
    parameters = take_steps(SGD(make_parameters(), momentum=0.0, groups=groups), [0.5])
    np.testing.assert_array_equal(parameters["head.bias"], drawn("head.bias", "values"))
    for name, rate in (("head.weight", 1.0), ("stem.bias", 0.5)):
        expected = drawn(name, "values") - rate * drawn(name, "step 0")
        np.testing.assert_allclose(parameters[name], expected, rtol=1e-12)


@pytest.mark.parametrize("rule", list(MAKERS))
@pytest.mark.parametrize("chunk", [5, 1 << 18])
def test_state_goes_on_bit_for_bit_and_nothing_touches_the_padding(rule, chunk, monkeypatch):
    monkeypatch.setattr("tinymixer.optim.chunks.CHUNK", chunk)
    groups = [ParameterGroup("*.bias", 0.5), ParameterGroup("stem.*", weight_decay=0.3)]
    straight = MAKERS[rule](make_parameters("float32"), weight_decay=0.1, groups=groups)
    take_steps(straight)
    restored = MAKERS[rule](make_parameters("float32"), weight_decay=0.1, groups=groups)
    restored.parameters.load(straight.parameters.to_numpy())
    restored.load_state_dict(straight.state_dict())
    take_steps(restored)
    for name, array in take_steps(straight).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, restored.parameters[name])
    padding = straight.parameters.mask(lambda name, shape: True) == 0
    for vector in (straight.parameters.values, *straight.state.values()):
        assert not vector[padding].any()


def test_groups_use_generic_array_calls_alone():
    groups = [ParameterGroup("*.bias", 0.5), ParameterGroup("stem.*", frozen=True), ParameterGroup("head.*", None, 0.3)]
    results = [
        take_steps(AdamW(make_parameters("float32", backend), clip_norm=1.0, groups=groups))
        for backend in ("numpy", STRICT)
    ]
    for name in SHAPES:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_how_every_parameter_is_updated_is_told():
    groups = [ParameterGroup("stem.*", frozen=True), ParameterGroup("head.*", 0.1, weight_decay=0.5)]
    optimizer = SGD(make_parameters(), weight_decay=0.25, groups=groups)
    for name, setting in (
        ("stem.weight", None),
        ("blocks.0.weight", Setting(1.0, 0.25, False)),
        ("head.weight", Setting(0.1, 0.5, False)),
        ("head.bias", Setting(0.1, 0.0, False)),
    ):
        assert optimizer.setting_of(name) == setting, name


def test_a_real_models_parts_can_be_frozen():
    config = MixerConfig(image_size=8, patch_size=4, hidden_dim=8, tokens_mlp_dim=4, channels_mlp_dim=8, num_blocks=2)
    model = MlpMixer(config)
    optimizer = AdamW(model.parameters, groups=[ParameterGroup("head.*"), ParameterGroup("*", frozen=True)])
    before = model.parameters.to_numpy()
    model.parameters.gradients[...] = 1
    optimizer.step(0.1)
    changed = {name for name in before if not np.array_equal(before[name], model.parameters[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([ParameterGroup("haed.*", 0.1)], r"no parameter's name fits the pattern 'haed.\*'. Did you mean 'head.\*'\?"),
        ([ParameterGroup("head.wieght")], "Did you mean 'head.weight'"),
        ([ParameterGroup("Head.*")], r"fits the pattern 'Head.\*'"),
        ([ParameterGroup("kept.*")], "It fits buffers alone, which are not trained"),
        (
            [ParameterGroup("head.*"), ParameterGroup("head.bias", 2.0)],
            r"'head.bias' comes too late: .* into 'head.\*'",
        ),
        ([ParameterGroup("*", frozen=True)], "all parameters are frozen"),
        ([ParameterGroup("*.bias", weight_decay=0.1)], "with decay = 'matrices' none of its parameters decays"),
        (["head.*"], "groups expects ParameterGroup objects, got str"),
    ],
)
def test_groups_that_cannot_be_meant_are_refused_in_a_sentence(groups, message):
    specification = {name: ParameterSpec(shape, draw) for name, shape in SHAPES.items()}
    parameters = Parameters(specification | {"kept.mean": BufferSpec((3,), draw)})
    for make in MAKERS.values():
        with pytest.raises(ConfigError, match=message):
            make(parameters, groups=groups)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParameterGroup(3), "'pattern' expects text, got 3"),
        (lambda: ParameterGroup("*", -1.0), "'learning_rate_factor' expects 0 or more, got -1.0"),
        (lambda: ParameterGroup("*", np.nan), "'learning_rate_factor' expects a finite number"),
        (lambda: ParameterGroup("*", weight_decay="much"), "'weight_decay' expects a number, got 'much'"),
        (lambda: ParameterGroup("*", frozen=1), "'frozen' expects true or false, got 1"),
        (lambda: ParameterGroup("*", 0.5, frozen=True), "is frozen, so it takes neither"),
        (lambda: ParameterGroup.from_dict({"patern": "*"}), "no field 'patern'. Did you mean 'pattern'"),
        (lambda: ParameterGroup.from_dict({"frozen": True}), "needs a pattern of names"),
    ],
)
def test_a_group_checks_its_own_fields(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_group_goes_to_plain_values_and_back():
    for group in (
        ParameterGroup("a.*", np.float32(0.5)),
        ParameterGroup("b", weight_decay=0),
        ParameterGroup("c", frozen=True),
    ):
        assert ParameterGroup.from_dict(group.to_dict()) == group
    assert ParameterGroup("a.*", np.int64(2)).to_dict() == {
        "pattern": "a.*",
        "learning_rate_factor": 2.0,
        "frozen": False,
    }
