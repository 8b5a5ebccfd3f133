"""prepend_class_token: the same learned token before the patches of every image."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(6)


def test_values_the_token_comes_first_and_the_others_follow_in_order():
    x, token = RNG.standard_normal((4, 3, 2)), RNG.standard_normal(2)
    y, _ = ops.prepend_class_token_forward(x, token)
    assert y.shape == (5, 3, 2)
    np.testing.assert_array_equal(y[0], np.tile(token, (3, 1)))
    np.testing.assert_array_equal(y[1:], x)


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 2, 3), (5, 1, 1)])
def test_the_gradient_is_right(shape):
    inputs = RNG.standard_normal(shape), RNG.standard_normal(shape[2])
    report = check_operation(ops.prepend_class_token_forward, ops.prepend_class_token_backward, *inputs)
    report.raise_if_failed()


def test_taken_again_it_gets_the_whole_gradient():
    """Prepended and taken at once, the patches do not count: the class token gets the sum over the images."""
    y, cache = ops.prepend_class_token_forward(RNG.standard_normal((4, 3, 2)), RNG.standard_normal(2))
    dy = RNG.standard_normal((3, 2))
    dx, dtoken = ops.prepend_class_token_backward(
        ops.take_class_token_backward(dy, ops.take_class_token_forward(y)[1]), cache
    )
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_allclose(dtoken, dy.sum(axis=0), rtol=1e-15)


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected token of shape \(C,\) with C=2, got \(3,\)"):
        ops.prepend_class_token_forward(np.ones((4, 3, 2)), np.ones(3))
    _, cache = ops.prepend_class_token_forward(np.ones((4, 3, 2)), np.ones(2))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(S, B, C\) with S=5, B=3, C=2, got \(4, 3, 2\)"):
        ops.prepend_class_token_backward(np.ones((4, 3, 2)), cache)
