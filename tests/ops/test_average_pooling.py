"""average_pooling: the mean of each window."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(4)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 2), (3, 2), (2, 3)])
def test_it_is_a_convolution_with_equal_weights_channel_by_channel(size, stride):
    x = RNG.standard_normal((2, 6, 5, 3))
    y, cache = ops.average_pooling_forward(x, size, stride)
    equal = np.full((size, size, 1, 1), 1 / size**2)
    expected = [ops.convolution_forward(x[..., c : c + 1], equal, stride=stride) for c in range(3)]
    np.testing.assert_allclose(y, np.concatenate([each for each, _ in expected], axis=-1), rtol=1e-12)
    dy = RNG.standard_normal(y.shape)
    parts = [ops.convolution_backward(dy[..., c : c + 1], expected[c][1])[0] for c in range(3)]
    np.testing.assert_allclose(ops.average_pooling_backward(dy, cache), np.concatenate(parts, axis=-1), rtol=1e-12)


@pytest.mark.parametrize(("size", "stride", "shape"), [(2, 2, (3, 3)), (3, 2, (3, 2)), (3, 3, (2, 2)), (1, 1, (6, 5))])
def test_windows_that_hang_over_reach_every_pixel_and_average_what_they_have(size, stride, shape):
    x = RNG.standard_normal((2, 6, 5, 3))
    y, _ = ops.average_pooling_forward(x, size, stride, overhang=True)
    assert y.shape == (2, *shape, 3)
    for u, v in np.ndindex(*shape):
        window = x[:, stride * u : stride * u + size, stride * v : stride * v + size]
        np.testing.assert_allclose(y[:, u, v], window.mean(axis=(1, 2)), rtol=1e-12)


def test_the_gradient_is_right():
    x = RNG.standard_normal((2, 3, 3, 1))
    check_operation(ops.average_pooling_forward, ops.average_pooling_backward, x, 2, 2, True).raise_if_failed()
    x = RNG.standard_normal((2, 4, 5, 2))
    check_operation(ops.average_pooling_forward, ops.average_pooling_backward, x, 3, 1, vary=False).raise_if_failed()


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="does not fit into an image of 2 x 2"):
        ops.average_pooling_forward(np.ones((1, 2, 2, 1)), 3, 1)
    with pytest.raises(ShapeError, match="windows of 2 pixels that hang over need a stride of 2 or less, got 3"):
        ops.average_pooling_forward(np.ones((1, 7, 7, 1)), 2, 3, overhang=True)
