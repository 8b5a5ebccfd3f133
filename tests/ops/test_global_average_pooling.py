"""global_average_pooling: the mean of each channel over the image."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(5)


def test_it_is_the_average_over_one_window():
    x = RNG.standard_normal((3, 4, 4, 2))
    y, cache = ops.global_average_pooling_forward(x)
    whole, whole_cache = ops.average_pooling_forward(x, 4, 1)
    np.testing.assert_allclose(y, whole[:, 0, 0], rtol=1e-12)
    dy = RNG.standard_normal((3, 2))
    expected = ops.average_pooling_backward(dy[:, None, None], whole_cache)
    np.testing.assert_allclose(ops.global_average_pooling_backward(dy, cache), expected, rtol=1e-12)


def test_the_gradient_is_right():
    forward, backward = ops.global_average_pooling_forward, ops.global_average_pooling_backward
    check_operation(forward, backward, RNG.standard_normal((2, 3, 2, 3)), vary=False).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected x of shape \(B, height, width, C\), got \(6, 2\)"):
        ops.global_average_pooling_forward(np.ones((6, 2)))
