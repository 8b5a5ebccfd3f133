"""gate: one array times another, entry by entry."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


def test_values_by_hand():
    y, cache = ops.gate_forward(np.array([1.0, 2, 3]), np.array([0.0, -1, 0.5]))
    np.testing.assert_array_equal(y, [0, -2, 1.5])
    dx, dgate = ops.gate_backward(np.array([1.0, 10, 100]), cache)
    np.testing.assert_array_equal(dx, [0, -10, 50])
    np.testing.assert_array_equal(dgate, [1, 20, 300])


def test_the_gradient_is_right():
    inputs = RNG.standard_normal((4, 3, 5)), RNG.standard_normal((4, 3, 5))
    check_operation(ops.gate_forward, ops.gate_backward, *inputs).raise_if_failed()


def test_other_shapes_are_refused():
    """NumPy would broadcast them, and the gradients would have the wrong shape."""
    with pytest.raises(ShapeError, match=r"expected a gate of the shape of x, \(2, 3\), got \(3,\)"):
        ops.gate_forward(np.ones((2, 3)), np.ones(3))
    _, cache = ops.gate_forward(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"expected dy of the shape of x, \(2, 3\), got \(1, 3\)"):
        ops.gate_backward(np.ones((1, 3)), cache)
