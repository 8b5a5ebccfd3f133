"""Buffers: statistics that no forward pass moves, and that slices and micro-batches get right."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers.running_mean import Centred, CentredModel, RunningMean, WritesInForward
from tests.strict_arrays import STRICT
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.gradcheck import check_layer
from tinymixer.layers import Linear
from tinymixer.layers.replica import replica


def batch(rows=12, columns=4, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype)


def one_batch(layer, x):
    """The buffers after a step over the whole batch."""
    layer.update_buffers(layer.forward(x, train=True)[1])
    return layer.parameters.buffers.copy()


def test_a_buffer_is_named_apart_from_the_weights():
    parameters = Centred(4, 3, 2, dtype="float64").parameters
    assert parameters.buffer_names == ["mean.mean"]
    assert parameters.names == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert parameters.count == 4 * 3 + 3 + 3 * 2 + 2
    assert "mean.mean" not in parameters
    assert parameters.part("mean").prefix == "mean"
    assert parameters.part("mean").names == []
    assert np.shares_memory(parameters.part("mean").buffer("mean"), parameters.buffers)
    with pytest.raises(KeyError, match=r"'mean.mean' is a buffer.*parameters.buffer\('mean.mean'\)"):
        parameters["mean.mean"]
    with pytest.raises(KeyError, match=r"Did you mean 'mean.mean'"):
        parameters.buffer("mean.means")
    with pytest.raises(AttributeError):
        parameters.buffers = np.zeros(3)


def test_only_update_buffers_moves_buffers():
    layer, x = Centred(4, 3, 2, dtype="float64"), batch()
    y, cache = layer.forward(x, train=True)
    layer.backward(y, cache)
    assert not layer.parameters.buffers.any()
    layer.forward(10 + x, train=True)  # a second forward pass leaves the first one's statistics alone
    layer.update_buffers(cache)
    hidden = x @ layer.parameters["first.weight"] + layer.parameters["first.bias"]
    np.testing.assert_allclose(layer.parameters.buffer("mean.mean"), 0.1 * hidden.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(layer.forward(x)[0], layer.forward(x, train=True)[0])


def test_a_layer_without_buffers_has_nothing_to_update():
    layer = Linear(4, 3, dtype="float64")
    before = layer.parameters.values.copy()
    layer.update_buffers(layer.forward(batch())[1])
    layer.parameters.collect_buffer_change(lambda: pytest.fail("there is nothing to update"), 1.0)
    layer.parameters.apply_buffer_change()
    np.testing.assert_array_equal(layer.parameters.values, before)
    assert layer.parameters.buffers.size == 0


@settings(deadline=None)
@given(cuts=st.sets(st.integers(1, 11)), steps=st.integers(1, 3), dtype=st.sampled_from(["float32", "float64"]))
def test_micro_batches_give_the_whole_batches_buffers(cuts, steps, dtype):
    whole, parted = Centred(4, 3, 2, dtype=dtype), Centred(4, 3, 2, dtype=dtype)
    edges = [0, *sorted(cuts), 12]
    for step in range(steps):
        x = batch(dtype=dtype, seed=step)
        one_batch(whole, x)
        before = parted.parameters.buffers.copy()
        for start, stop in itertools.pairwise(edges):
            cache = parted.forward(x[start:stop], train=True)[1]
            parted.parameters.collect_buffer_change(
                lambda cache=cache: parted.update_buffers(cache), (stop - start) / 12
            )
            np.testing.assert_array_equal(parted.parameters.buffers, before)  # each part starts from the same
        parted.parameters.apply_buffer_change()
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(parted.parameters.buffers, whole.parameters.buffers, rtol=tolerance, atol=tolerance)
    assert parted.parameters.buffers.dtype == dtype
    assert not parted.parameters.buffer_change.any()
    assert not parted.parameters.buffers[3:].any()  # padding


def test_slices_on_replicas_give_the_whole_batches_buffers():
    whole, model, x = CentredModel(dtype="float64"), CentredModel(dtype="float64"), batch(12, 16).reshape(12, 4, 4, 1)
    replicas = [replica(model) for _ in range(3)]
    for _ in range(2):
        one_batch(whole, x)
        before = model.parameters.buffers.copy()
        for index, copy in enumerate(replicas):
            part = slice(index, None, 3)
            copy.parameters.take_buffers(model.parameters)
            cache = copy.forward(x[part], train=True)[1]
            copy.parameters.collect_buffer_change(lambda copy=copy, cache=cache: copy.update_buffers(cache), 4 / 12)
        np.testing.assert_array_equal(model.parameters.buffers, before)
        for copy in replicas:
            model.parameters.add_buffer_change(copy.parameters)
            assert not copy.parameters.buffer_change.any()
        model.parameters.apply_buffer_change()
        np.testing.assert_allclose(model.parameters.buffers, whole.parameters.buffers, rtol=1e-12)


def test_an_update_that_fails_leaves_the_buffers_as_they_were():
    layer = RunningMean(3, dtype="float64")

    def fails():
        layer.parameters.buffers[...] = 7
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        layer.parameters.collect_buffer_change(fails, 1.0)
    layer.parameters.apply_buffer_change()
    assert not layer.parameters.buffers.any()


def test_buffers_go_to_the_host_and_back():
    layer, other = Centred(4, 3, 2), Centred(4, 3, 2)
    one_batch(layer, batch(dtype="float32"))
    arrays = layer.parameters.buffers_to_numpy()
    assert list(arrays) == ["mean.mean"]
    other.parameters.load_buffers(arrays)
    np.testing.assert_array_equal(other.parameters.buffers, layer.parameters.buffers)
    assert np.shares_memory(other.mean.parameters.buffer("mean"), other.parameters.buffers)
    for bad, message in (
        ({}, "'mean.mean' is missing"),
        ({"mean.mean": np.ones(4)}, r"'mean.mean' should have shape \(3,\), got \(4,\)"),
        (arrays | {"more": np.ones(3)}, "the model has no buffer 'more'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            other.parameters.load_buffers(bad)
    with pytest.raises(ConfigError, match="buffers of the same names and shapes"):
        other.parameters.take_buffers(RunningMean(3).parameters)


@pytest.mark.parametrize("train", [False, True])
def test_the_gradient_checker_works_with_buffers_and_moves_nothing(train):
    layer = Centred(4, 3, 2, dtype="float64")
    one_batch(layer, batch(seed=5))
    before = [v.copy() for v in (layer.parameters.values, layer.parameters.gradients, layer.parameters.buffers)]
    report = check_layer(layer, batch(6), train)
    assert report.passed, str(report)
    for vector, old in zip(
        (layer.parameters.values, layer.parameters.gradients, layer.parameters.buffers), before, strict=True
    ):
        np.testing.assert_array_equal(vector, old)
    assert check_layer(RunningMean(3, dtype="float64"), batch(6, 3), train).passed


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_the_gradient_checker_refuses_a_forward_that_writes_buffers(momentum):
    layer = WritesInForward(4, momentum, dtype="float64")
    report = check_layer(layer, batch(6))
    assert not report.passed
    assert any("writes into the buffers" in row.note for row in report.rows)
    assert not layer.parameters.buffers.any()  # put back all the same


def test_buffers_on_another_array_library():
    """Collecting and applying uses what every array library has, and gives NumPy's bits."""
    results = []
    for backend in ("numpy", STRICT):
        parameters = Centred(4, 3, 2, backend=backend).parameters

        def update(parameters=parameters):
            parameters.buffers.fill(2)

        for share in (0.25, 0.5):
            parameters.collect_buffer_change(update, share)
        parameters.apply_buffer_change()
        results.append(parameters.buffers_to_numpy()["mean.mean"])
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0], 1.5)
