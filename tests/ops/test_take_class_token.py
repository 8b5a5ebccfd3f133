"""take_class_token: the first token of every image, for the head."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(7)


def test_values_are_the_first_tokens_and_no_view_of_them():
    x = RNG.standard_normal((4, 3, 2))
    y, _ = ops.take_class_token_forward(x)
    np.testing.assert_array_equal(y, x[0])
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 2, 3), (5, 1, 1)])
def test_the_gradient_is_right(shape):
    forward, backward = ops.take_class_token_forward, ops.take_class_token_backward
    check_operation(forward, backward, RNG.standard_normal(shape)).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected x of shape \(S, B, C\), got \(3, 4\)"):
        ops.take_class_token_forward(np.ones((3, 4)))
    _, cache = ops.take_class_token_forward(np.ones((4, 2, 3)))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(B, C\) with B=2, C=3, got \(4, 2, 3\)"):
        ops.take_class_token_backward(np.ones((4, 2, 3)), cache)
