"""mean_over_tokens: the mean over the first axis, before the head."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


def test_values_are_the_mean_of_the_tokens():
    x = RNG.standard_normal((5, 2, 3))
    y, _ = ops.mean_over_tokens_forward(x)
    np.testing.assert_allclose(y, sum(x) / 5, rtol=1e-13)


def test_in_float16_the_sum_may_be_beyond_float16():
    y, _ = ops.mean_over_tokens_forward(np.full((4096, 1, 2), 30, "float16"))  # the sum would be 122,880
    np.testing.assert_array_equal(y, 30)


@pytest.mark.parametrize("shape", [(4, 2, 3), (1, 2, 3), (4, 1, 1)])
def test_the_gradient_is_right(shape):
    forward, backward = ops.mean_over_tokens_forward, ops.mean_over_tokens_backward
    check_operation(forward, backward, RNG.standard_normal(shape)).raise_if_failed()


def test_every_token_gets_a_gradient_of_its_own():
    _, cache = ops.mean_over_tokens_forward(np.ones((4, 2, 3)))
    dx = ops.mean_over_tokens_backward(np.ones((2, 3)), cache)
    dx[0] = 7
    np.testing.assert_array_equal(dx[1:], 0.25)


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected x of shape \(S, B, C\), got \(3, 4\)"):
        ops.mean_over_tokens_forward(np.ones((3, 4)))
    _, cache = ops.mean_over_tokens_forward(np.ones((4, 2, 3)))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(B, C\) with B=2, C=3, got \(4, 2, 3\)"):
        ops.mean_over_tokens_backward(np.ones((4, 2, 3)), cache)
