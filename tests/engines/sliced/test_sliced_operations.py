"""The operations in few passes are those of `tinymixer.ops`: values, gradients, dtypes, untouched inputs."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.engines.sliced import SharedSums, keep_freed_memory, parts, self_attention, sliced_operations
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(0)
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
PLAIN = vars(ops)


def normal(*shape, dtype="float64"):
    return RNG.standard_normal(shape).astype(dtype)


INPUTS = {  # name -> forward inputs
    "batch_norm": lambda dtype: (
        3 + 2 * normal(5, 4, 6, 3, dtype=dtype),
        normal(3, dtype=dtype),
        normal(3, dtype=dtype),
    ),
    "layer_norm": lambda dtype: (3 + 2 * normal(6, 2, 9, dtype=dtype), normal(9, dtype=dtype), normal(9, dtype=dtype)),
    "gelu_tanh": lambda dtype: (3 * normal(3, 2, 7, dtype=dtype),),
    "linear": lambda dtype: (normal(3, 2, 5, dtype=dtype), normal(5, 4, dtype=dtype), normal(4, dtype=dtype)),
    "self_attention": lambda dtype: (2 * normal(5, 7, 24, dtype=dtype), 2),
}


def test_everything_that_differs_from_the_plain_operations_is_compared_here():
    sliced = vars(sliced_operations(0, SharedSums()))
    assert set(ops.__all__) == set(sliced)
    faster = {name.rpartition("_")[0] for name, function in sliced.items() if function is not PLAIN[name]}
    assert faster == set(INPUTS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("name", INPUTS)
def test_values_and_gradients_are_those_of_the_plain_operation(name, scattered, dtype, monkeypatch):
    monkeypatch.setattr(parts, "NUMBERS", 10)  # several parts, and the last one shorter
    monkeypatch.setattr(self_attention, "SCORES", 100)  # two images
    sliced = sliced_operations(0, SharedSums())
    inputs = INPUTS[name](dtype)
    if scattered:  # the first input's memory in another order
        inputs = (np.asfortranarray(inputs[0]), *inputs[1:])
    for array in inputs:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    expected, plain_cache = PLAIN[f"{name}_forward"](*inputs)
    y, cache = getattr(sliced, f"{name}_forward")(*inputs)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    dy = normal(*y.shape, dtype=dtype)
    dy = np.asfortranarray(dy) if scattered else dy
    dy.flags.writeable = False
    found = getattr(sliced, f"{name}_backward")(dy, cache)
    again = getattr(sliced, f"{name}_backward")(dy, cache)  # the cache is as it was
    expected = PLAIN[f"{name}_backward"](dy, plain_cache)
    if not isinstance(expected, tuple):
        found, again, expected = (found,), (again,), (expected,)
    for ours, ours_again, theirs in zip(found, again, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
        np.testing.assert_array_equal(ours, ours_again)
    if name == "batch_norm":
        np.testing.assert_allclose(cache.mean, plain_cache.mean, rtol=TOLERANCE[dtype])
        np.testing.assert_allclose(cache.variance, plain_cache.variance, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", INPUTS)
def test_the_gradient_is_right(name):
    sliced = sliced_operations(0, SharedSums())
    forward, backward = (getattr(sliced, f"{name}_{way}") for way in ("forward", "backward"))
    inputs = [
        array[:2] if isinstance(array, np.ndarray) and array.ndim > 2 else array for array in INPUTS[name]("float64")
    ]
    check_operation(forward, backward, *inputs, vary=False).raise_if_failed()


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "linear"])
def test_what_does_not_fit_is_said_as_by_the_plain_operation(name):
    x, first, second = INPUTS[name]("float64")
    for wrong in ((x[..., 1:], first, second), (x, first, second[1:])):
        with pytest.raises(ShapeError) as plain:
            PLAIN[f"{name}_forward"](*wrong)
        with pytest.raises(ShapeError) as sliced:
            getattr(sliced_operations(0, SharedSums()), f"{name}_forward")(*wrong)
        assert str(sliced.value) == str(plain.value)


@settings(deadline=None, max_examples=15)
@given(images=st.integers(3, 9), threads=st.integers(1, 3), channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_threads_that_share_a_batch_find_the_whole_batchs_statistics(images, threads, channels, seed):
    generator = np.random.default_rng(seed)
    x, dy = generator.standard_normal((2, images, 2, 3, channels))
    scale, bias = generator.standard_normal((2, channels))
    y, cache = ops.batch_norm_forward(x, scale, bias)
    dx, dscale, dbias = ops.batch_norm_backward(dy, cache)
    sums, slices = SharedSums(), np.array_split(np.arange(images), threads)
    sums.begin(range(threads))

    def work(thread, part):
        mine = sliced_operations(thread, sums)
        y, cache = mine.batch_norm_forward(x[part], scale, bias)
        return y, cache.variance, *mine.batch_norm_backward(dy[part], cache)

    found = ThreadTeam(threads).run(work, slices)
    np.testing.assert_allclose(np.concatenate([each[0] for each in found]), y, atol=1e-10)
    np.testing.assert_allclose(found[-1][1], cache.variance, atol=1e-10)
    np.testing.assert_allclose(np.concatenate([each[2] for each in found]), dx, atol=1e-9)
    np.testing.assert_allclose(sum(each[3] for each in found), dscale, atol=1e-10)  # the threads' gradients add up
    np.testing.assert_allclose(sum(each[4] for each in found), dbias, atol=1e-10)


def test_a_thread_that_fails_lets_the_others_go():
    sums = SharedSums()
    sums.begin([0, 1])

    def work(thread):
        with sums.given_up_on_error():
            if thread == 1:
                raise ShapeError("mine")
            return sums(thread, np.ones(2))

    with pytest.raises((ShapeError, threading.BrokenBarrierError)):
        ThreadTeam(2).run(work)
    assert isinstance(sums.error, ShapeError)


def test_the_users_own_settings_of_malloc_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory.__wrapped__()
