"""The average of the weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.optim.test_update_rules import make_parameters
from tests.strict_arrays import STRICT
from tinymixer.errors import CheckpointError, ConfigError, ShapeError
from tinymixer.optim.averaging import WeightAverage
from tinymixer.parameters import BufferSpec, Parameters, ParameterSpec

WITH_BUFFERS = {
    "weight": ParameterSpec((3, 2), lambda generator, shape: generator.standard_normal(shape)),
    "mean": BufferSpec((4,), lambda generator, shape: np.ones(shape)),
}


def trained(average, steps):
    """Draw new weights for each step and update the average; returns the weights of each step."""
    generator, drawn = np.random.default_rng(5), []
    for step in range(1, steps + 1):
        parameters = average.parameters
        parameters.load({name: generator.standard_normal(parameters.shape(name)) for name in parameters.names})
        drawn.append(average.parameters.values.copy())
        average.step(step)
    return drawn


@given(decay=st.floats(0, 0.999), every=st.integers(1, 4), steps=st.integers(0, 12))
def test_it_follows_its_recursion(decay, every, steps):
    average = WeightAverage(make_parameters(), decay, every)
    expected = average.parameters.values.copy()
    updates = trained(average, steps)[every - 1 :: every]
    for n, weights in enumerate(updates, 1):
        kept = min(decay, n / (n + 50))
        expected = kept * expected + (1 - kept) * weights
    assert average.updates == len(updates)
    np.testing.assert_allclose(average.values, expected, rtol=1e-12, atol=1e-14)


def test_the_model_has_the_average_inside_the_block_only():
    average = WeightAverage(Parameters(WITH_BUFFERS, dtype="float32"), 0.9, 1)
    trained(average, 3)
    average.parameters.buffers[...] += 1
    average.step(4)
    own = average.parameters.values.copy(), average.parameters.buffers.copy()

    def evaluate_and_fail():
        with average.applied():
            np.testing.assert_array_equal(average.parameters.values, average.values)
            np.testing.assert_array_equal(average.parameters.buffers, average.buffers)
            assert not np.array_equal(average.values, own[0])
            assert not np.array_equal(average.buffers, own[1])
            raise RuntimeError("an evaluation that fails")

    with pytest.raises(RuntimeError, match="an evaluation that fails"):
        evaluate_and_fail()
    np.testing.assert_array_equal(average.parameters.values, own[0])
    np.testing.assert_array_equal(average.parameters.buffers, own[1])


def test_its_state_goes_on_bit_for_bit():
    straight = WeightAverage(Parameters(WITH_BUFFERS, dtype="float32"), 0.9, 2)
    trained(straight, 5)
    restored = WeightAverage(Parameters(WITH_BUFFERS, dtype="float32", seed=7), 0.9, 2)
    vectors = restored.values, restored.buffers
    own = restored.parameters.values.copy()
    restored.load_state_dict(straight.state_dict())
    assert restored.values is vectors[0]  # the vectors stay where they are: a recorded GPU step knows their places
    assert restored.buffers is vectors[1]
    np.testing.assert_array_equal(restored.parameters.values, own)
    for average in (straight, restored):
        trained(average, 4)
    np.testing.assert_array_equal(restored.values, straight.values)
    np.testing.assert_array_equal(restored.buffers, straight.buffers)
    assert restored.updates == straight.updates == 4


def test_a_state_that_does_not_fit_changes_nothing():
    average = WeightAverage(Parameters(WITH_BUFFERS, dtype="float32"))
    good, before = average.state_dict(), average.values.copy()
    for bad in (
        good | {"updates": np.array(-1)},
        {name: array for name, array in good.items() if name != "updates"},
        good | {"parameters/weight": np.zeros((2, 2), np.float32)},
        {name: array for name, array in good.items() if name != "buffers/mean"},
    ):
        with pytest.raises((CheckpointError, ShapeError)):
            average.load_state_dict(bad)
        np.testing.assert_array_equal(average.values, before)


def test_generic_array_calls_alone_are_used():
    results = []
    for backend in ("numpy", STRICT):
        parameters = make_parameters("float32", backend)
        average = WeightAverage(parameters, 0.9, 1)
        parameters["weight"][...] = 2.0 * parameters["weight"]
        average.step(1)
        with average.applied():
            results.append(parameters.to_numpy())
    for name, ours in results[0].items():
        np.testing.assert_array_equal(results[1][name], ours)


@pytest.mark.parametrize(("arguments", "message"), [((1.0, 5), "decay must be"), ((0.9, 0), "every must be")])
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        WeightAverage(make_parameters(), *arguments)
