"""layer_scale: each channel times its own number."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 1), (7,)])
def test_it_is_a_product_with_a_diagonal_matrix(shape):
    x, scale, dy = RNG.standard_normal(shape), RNG.standard_normal(shape[-1]), RNG.standard_normal(shape)
    y, cache = ops.layer_scale_forward(x, scale)
    np.testing.assert_allclose(y, x @ np.diag(scale))
    dx, dscale = ops.layer_scale_backward(dy, cache)
    np.testing.assert_allclose(dx, dy @ np.diag(scale))
    np.testing.assert_allclose(dscale, np.diag(x.reshape(-1, shape[-1]).T @ dy.reshape(-1, shape[-1])))


def test_the_gradient_is_right():
    inputs = RNG.standard_normal((4, 3, 5)), RNG.standard_normal(5)
    check_operation(ops.layer_scale_forward, ops.layer_scale_backward, *inputs).raise_if_failed()


def test_half_precision_adds_up_in_float32():
    x, scale = np.full((4096, 1), 1 + 2**-10, "float16"), np.ones(1, "float16")
    _, cache = ops.layer_scale_forward(x, scale)
    _, dscale = ops.layer_scale_backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(dscale, np.array([4100], "float16"))


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected x of shape \(\.\.\., C\) with C=4, got \(2, 5\)"):
        ops.layer_scale_forward(np.ones((2, 5)), np.ones(4))
    _, cache = ops.layer_scale_forward(np.ones((2, 5)), np.ones(5))
    with pytest.raises(ShapeError, match=r"expected dy of shape"):
        ops.layer_scale_backward(np.ones((2, 4)), cache)
