"""Update rules against scalar references written from the papers, one weight at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.optim import SGD, AdamW, clip_by_global_norm, global_norm
from tinymixer.parameters import Parameters, ParameterSpec

SPECIFICATION = {
    "weight": ParameterSpec((3, 5), lambda generator, shape: generator.standard_normal(shape)),
    "bias": ParameterSpec((7,), lambda generator, shape: generator.standard_normal(shape)),
}
rates = st.floats(1e-4, 0.5)
shares = st.floats(0, 0.99)
decays = st.floats(0, 0.5)


def make_parameters(dtype="float64", backend="numpy"):
    return Parameters(SPECIFICATION, backend, dtype, seed=1)


def take_steps(optimizer, learning_rates):
    """Gradients drawn from a generator with a fixed seed; yields the gradients, by name, of each step."""
    parameters, generator = optimizer.parameters, np.random.default_rng(2)
    for learning_rate in learning_rates:
        gradients = {name: generator.standard_normal(parameters.shape(name)) for name in parameters.names}
        parameters.load(gradients, into=parameters.gradients)
        optimizer.step(learning_rate)
        yield gradients


def sgd_reference(weight, gradients, learning_rates, momentum, nesterov, decay, decoupled):
    velocity = None
    for gradient, learning_rate in zip(gradients, learning_rates, strict=True):
        if decoupled:
            weight -= learning_rate * decay * weight
        else:
            gradient += decay * weight
        velocity = gradient if velocity is None else momentum * velocity + gradient
        weight -= learning_rate * (gradient + momentum * velocity if nesterov else velocity)
    return weight


def adamw_reference(weight, gradients, learning_rates, beta1, beta2, eps, decay):
    mean = square = 0.0
    for t, (gradient, learning_rate) in enumerate(zip(gradients, learning_rates, strict=True), 1):
        weight *= 1 - learning_rate * decay
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        weight -= learning_rate * (mean / (1 - beta1**t)) / (math.sqrt(square / (1 - beta2**t)) + eps)
    return weight


def assert_follows(optimizer, learning_rates, reference, decaying):
    parameters = optimizer.parameters
    first = parameters.to_numpy()
    gradients = list(take_steps(optimizer, learning_rates))
    for name in parameters.names:
        for index in np.ndindex(parameters.shape(name)):
            own = [float(step[name][index]) for step in gradients]
            expected = reference(float(first[name][index]), own, name in decaying)
            assert parameters[name][index] == pytest.approx(expected, rel=1e-12, abs=1e-12)  # of steps of about 1


DECAYING = {"matrices": ("weight",), "all": ("weight", "bias"), "none": ()}


@settings(deadline=None)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=5),
    momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(),
    decay=decays,
    decoupled=st.booleans(),
    which=st.sampled_from(list(DECAYING)),
)
def test_sgd_follows_its_reference(learning_rates, momentum, nesterov, decay, decoupled, which):
    optimizer = SGD(make_parameters(), momentum, nesterov, decay, which, decoupled=decoupled)

    def reference(weight, gradients, decays):
        strength = decay if decays else 0
        return sgd_reference(weight, gradients, learning_rates, momentum, nesterov, strength, decoupled)

    assert_follows(optimizer, learning_rates, reference, DECAYING[which])


@settings(deadline=None)
@given(
    learning_rates=st.lists(rates, min_size=1, max_size=5),
    betas=st.tuples(shares, shares),
    eps=st.floats(1e-10, 1e-2),
    decay=decays,
    which=st.sampled_from(list(DECAYING)),
)
def test_adamw_follows_its_reference(learning_rates, betas, eps, decay, which):
    optimizer = AdamW(make_parameters(), betas, eps, decay, which)

    def reference(weight, gradients, decays):
        return adamw_reference(weight, gradients, learning_rates, *betas, eps, decay if decays else 0)

    assert_follows(optimizer, learning_rates, reference, DECAYING[which])


def test_sgd_with_a_constant_gradient_has_a_closed_form():
    """The velocity is a geometric series: after n steps it is g * (1 - m^n) / (1 - m)."""
    parameters = make_parameters()
    optimizer = SGD(parameters, momentum=0.9)
    first = parameters.values.copy()
    parameters.gradients[...] = 2.0
    for _ in range(10):
        optimizer.step(0.1)
    travelled = sum(0.1 * 2 * (1 - 0.9**n) / (1 - 0.9) for n in range(1, 11))
    np.testing.assert_allclose(first - parameters.values, travelled, rtol=1e-12)


def test_adamw_with_a_constant_gradient_moves_by_the_learning_rate():
    """Both averages are then exact after the correction, so each step is lr * sign(gradient)."""
    parameters = make_parameters()
    optimizer = AdamW(parameters, weight_decay=0.0, eps=0.0)
    first = parameters.values.copy()
    parameters.gradients[...] = -3.0
    for _ in range(7):
        optimizer.step(0.01)
    np.testing.assert_allclose(parameters.values - first, 0.07, rtol=1e-9)


def test_a_quadratic_is_minimised():
    for make in (lambda p: SGD(p, momentum=0.9), lambda p: SGD(p, nesterov=True), lambda p: AdamW(p, weight_decay=0.0)):
        parameters = make_parameters()
        optimizer = make(parameters)
        for step in range(400):
            parameters.gradients[...] = parameters.values - 0.5
            optimizer.step(0.05 * (1 - step / 400))
        np.testing.assert_allclose(parameters["weight"], 0.5, atol=1e-4)


@settings(deadline=None)
@given(scale=st.floats(0, 1e3), max_norm=st.floats(1e-3, 1e3))
def test_clipping_bounds_the_norm_and_keeps_the_direction(scale, max_norm):
    gradients = scale * np.random.default_rng(3).standard_normal(1000)
    before = gradients.copy()
    norm = clip_by_global_norm(gradients, max_norm)
    assert norm == pytest.approx(np.linalg.norm(before))
    assert np.linalg.norm(gradients) <= max_norm * (1 + 1e-9)
    if norm + 1e-6 <= max_norm:
        np.testing.assert_array_equal(gradients, before)
    else:
        np.testing.assert_allclose(gradients * (norm + 1e-6), before * max_norm, rtol=1e-9)


def test_global_norm_is_the_norm_over_all_tensors_and_comes_back_from_step():
    parameters = make_parameters("float32")
    optimizer = SGD(parameters, momentum=0.0, clip_norm=0.5)
    first = parameters.values.copy()
    parameters.gradient("weight")[...] = 3.0
    parameters.gradient("bias")[...] = 4.0
    expected = math.sqrt(15 * 9 + 7 * 16)
    assert global_norm(parameters.gradients) == pytest.approx(expected)
    assert optimizer.step(1.0) == pytest.approx(expected)
    assert np.linalg.norm(first - parameters.values) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_are_in_place_and_keep_dtype_and_padding(make, dtype):
    parameters = make_parameters(dtype)
    view = parameters["weight"]
    optimizer = make(parameters, weight_decay=0.1, decay="all", clip_norm=1.0)
    before = view.copy()
    list(take_steps(optimizer, [0.1, 0.1]))
    assert not np.array_equal(view, before)
    for vector in (parameters.values, parameters.gradients, *optimizer.state.values()):
        assert vector.dtype == dtype
        used = parameters.mask(lambda name, shape: True)
        assert not vector[used == 0].any()


@pytest.mark.parametrize("make", [lambda p: SGD(p, nesterov=True), lambda p: AdamW(p, clip_norm=1.0)])
def test_generic_array_calls_alone_are_used(make):
    """The update on the strict stand-in library gives NumPy's bits."""
    results = []
    for backend in ("numpy", STRICT):
        parameters = make_parameters("float32", backend)
        list(take_steps(make(parameters), [0.1, 0.01, 0.2]))
        results.append(parameters.to_numpy())
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


@pytest.mark.parametrize("make", [lambda p: SGD(p, nesterov=True), lambda p: AdamW(p, weight_decay=0.1)])
def test_state_dict_goes_on_bit_for_bit(make):
    straight = make(make_parameters("float32"))
    list(take_steps(straight, [0.1] * 3))
    restored_parameters = make_parameters("float32")
    restored_parameters.load(straight.parameters.to_numpy())
    restored = make(restored_parameters)
    restored.load_state_dict(straight.state_dict())
    assert restored.steps == 3
    for optimizer in (straight, restored):
        list(take_steps(optimizer, [0.05] * 2))
    np.testing.assert_array_equal(straight.parameters.values, restored.parameters.values)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    optimizer = AdamW(make_parameters())
    good = optimizer.state_dict()
    bad_states = [
        SGD(make_parameters()).state_dict(),
        good | {"mean": good["mean"][:-1]},
        good | {"mean": good["mean"].astype("float32")},
        good | {"steps": np.array(-1)},
        good | {"steps": np.array([1, 2])},
        good | {"extra": good["mean"]},
    ]
    for bad in bad_states:
        changed = {name: array + 1 for name, array in bad.items()} if "velocity" in bad else bad
        with pytest.raises(CheckpointError):
            optimizer.load_state_dict(changed)
        assert optimizer.steps == 0
        assert not optimizer.state["mean"].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda p: SGD(p, momentum=0.0, nesterov=True), "needs a momentum"),
        (lambda p: SGD(p, weight_decay=-1.0), "weight_decay must be at least 0"),
        (lambda p: SGD(p, clip_norm=math.nan), "clip_norm must be at least 0"),
        (lambda p: SGD(p, decay="matrix"), "Did you mean 'matrices'"),
        (lambda p: AdamW(p, betas=(0.9, 1.0)), "beta2 must be"),
        (lambda p: AdamW(p, eps=-1e-8), "eps must be"),
    ],
)
def test_values_out_of_range_are_refused_in_a_sentence(make, message):
    with pytest.raises(ConfigError, match=message):
        make(make_parameters())


@pytest.mark.parametrize("make", [lambda p: SGD(p, nesterov=True), lambda p: AdamW(p, weight_decay=0.1, clip_norm=0.1)])
def test_the_length_of_chunks_changes_nothing(make, monkeypatch):
    """An update is computed a chunk at a time; neither the weights nor which of them decay may depend on the chunks."""
    whole, cut = make_parameters(), make_parameters()
    list(take_steps(make(whole), [0.1, 0.2]))
    monkeypatch.setattr("tinymixer.optim.chunks.CHUNK", 5)
    list(take_steps(make(cut), [0.1, 0.2]))
    np.testing.assert_allclose(cut.values, whole.values, rtol=1e-14)


@pytest.mark.parametrize("make", [lambda p: SGD(p, nesterov=True, clip_norm=0.5), lambda p: AdamW(p, clip_norm=0.5)])
def test_the_same_rule_over_other_parameters_begins_anew_in_their_format(make):
    ours, others, wanted = (make_parameters(dtype) for dtype in ("float32", "float64", "float64"))
    first = others.values.copy()
    original = make(ours)
    ours.gradients[...] = 1
    original.step(0.1)
    twin, fresh = original.over(others), make(wanted)
    assert (twin.steps, original.steps) == (0, 1)
    for optimizer in (twin, fresh):
        optimizer.parameters.gradients[...] = np.arange(others.gradients.size)
        optimizer.step(0.1)
    np.testing.assert_array_equal(others.values, wanted.values)
    assert all(twin.setting_of(name) == fresh.setting_of(name) for name in ours)
    assert not np.array_equal(others.values, first)
    assert {vector.dtype for vector in twin.state.values()} == {np.dtype(np.float64)}
