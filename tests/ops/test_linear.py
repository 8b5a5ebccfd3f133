"""linear: x W + b from the right, over the last axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


@given(rows=st.integers(1, 5), inputs=st.integers(1, 5), outputs=st.integers(1, 5))
def test_values_are_those_of_a_loop(rows, inputs, outputs):
    x, weight = RNG.standard_normal((rows, inputs)), RNG.standard_normal((inputs, outputs))
    bias = RNG.standard_normal(outputs)
    y, _ = ops.linear_forward(x, weight, bias)
    for n in range(rows):
        for o in range(outputs):
            assert y[n, o] == pytest.approx(sum(x[n, i] * weight[i, o] for i in range(inputs)) + bias[o])


def test_leading_axes_are_rows():
    x, weight, bias = RNG.standard_normal((3, 2, 5)), RNG.standard_normal((5, 4)), RNG.standard_normal(4)
    y, _ = ops.linear_forward(x, weight, bias)
    rows, _ = ops.linear_forward(x.reshape(6, 5), weight, bias)
    np.testing.assert_array_equal(y, rows.reshape(3, 2, 4))


@pytest.mark.parametrize("shape", [(4, 3), (2, 1, 3), (1, 3)])
def test_the_gradient_is_right(shape):
    x, weight, bias = RNG.standard_normal(shape), RNG.standard_normal((3, 2)), RNG.standard_normal(2)
    check_operation(ops.linear_forward, ops.linear_backward, x, weight, bias).raise_if_failed()


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((2, 3), (4, 5), (5,), "expected x of shape (..., I) with I=4, got (2, 3)"),
        ((2, 4), (4, 5), (4,), "expected bias of shape (O,) with O=5, got (4,)"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(x, weight, bias, message):
    with pytest.raises(ShapeError) as caught:
        ops.linear_forward(np.ones(x), np.ones(weight), np.ones(bias))
    assert message in str(caught.value)


def test_an_output_gradient_of_another_shape_is_refused():
    _, cache = ops.linear_forward(np.ones((2, 4)), np.ones((4, 5)), np.ones(5))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(..., O\) with O=5, got \(2, 4\)"):
        ops.linear_backward(np.ones((2, 4)), cache)
