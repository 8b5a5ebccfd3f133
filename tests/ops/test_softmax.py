"""softmax: rows of scores to rows of probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(3)


def test_values_of_a_row_by_hand():
    y, _ = ops.softmax_forward(np.array([[0.0, math.log(2), math.log(5)], [7.0, 7.0, 7.0]]))
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-15)


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 4), length=st.integers(1, 6), shift=st.floats(-1e4, 1e4))
def test_rows_sum_to_one_and_a_constant_added_to_a_row_changes_nothing(rows, length, shift):
    x = RNG.integers(-5, 5, (rows, length)).astype(float)
    y, _ = ops.softmax_forward(x)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(ops.softmax_forward(x + np.round(shift))[0], y, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scores_of_any_size_neither_overflow_nor_become_nan(dtype):
    largest = float(np.finfo(dtype).max)
    x = np.array([[largest, -largest], [0, -largest], [largest, largest]], dtype)
    with np.errstate(over="ignore"):  # the distance of the two largest numbers is infinite, and exp(-inf) is 0
        y, cache = ops.softmax_forward(x)
    np.testing.assert_array_equal(y, [[1, 0], [1, 0], [0.5, 0.5]])
    assert np.isfinite(ops.softmax_backward(np.ones_like(x), cache)).all()


def test_in_float16_a_long_row_sums_to_one():
    """4,096 equal scores: a sum in float16 would stop growing at 2,048."""
    y, _ = ops.softmax_forward(np.zeros((1, 4096), "float16"))
    np.testing.assert_array_equal(y, np.float16(1 / 4096))


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (4, 1), (1, 7)])
def test_the_gradient_is_right(shape):
    report = check_operation(ops.softmax_forward, ops.softmax_backward, 2 * RNG.standard_normal(shape))
    report.raise_if_failed()


def test_the_gradient_of_a_row_sums_to_zero():
    _, cache = ops.softmax_forward(RNG.standard_normal((4, 6)))
    dx = ops.softmax_backward(RNG.standard_normal((4, 6)), cache)
    np.testing.assert_allclose(dx.sum(axis=-1), 0, atol=1e-15)


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected x of shape \(..., N\), got \(\)"):
        ops.softmax_forward(np.array(1.0))
    _, cache = ops.softmax_forward(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(..., N\) with N=3, got \(2, 4\)"):
        ops.softmax_backward(np.ones((2, 4)), cache)
