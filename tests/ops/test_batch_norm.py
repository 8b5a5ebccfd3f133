"""batch_norm: each channel with the mean and variance of its batch."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(6)


def test_each_channel_has_mean_bias_and_standard_deviation_scale():
    x, scale, bias = 3 + 2 * RNG.standard_normal((4, 5, 3, 2)), np.array([2.0, -1.0]), np.array([0.5, -4.0])
    y, cache = ops.batch_norm_forward(x, scale, bias, 0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), bias, rtol=1e-10)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), abs(scale), rtol=1e-10)
    np.testing.assert_allclose(cache.mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(cache.variance, x.var(axis=(0, 1, 2), ddof=1), rtol=1e-12)


def test_it_is_layer_norm_of_the_transpose():
    x, ones, zeros = RNG.standard_normal((6, 4)), np.ones(4), np.zeros(4)
    y, cache = ops.batch_norm_forward(x, ones, zeros, 1e-5)
    across, across_cache = ops.layer_norm_forward(x.T.copy(), np.ones(6), np.zeros(6), 1e-5)
    np.testing.assert_allclose(y, across.T, rtol=1e-12)
    dy = RNG.standard_normal(y.shape)
    expected = ops.layer_norm_backward(dy.T.copy(), across_cache)[0].T
    np.testing.assert_allclose(ops.batch_norm_backward(dy, cache)[0], expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_right():
    inputs = RNG.standard_normal((3, 2, 2, 3)), RNG.standard_normal(3), RNG.standard_normal(3)
    check_operation(ops.batch_norm_forward, ops.batch_norm_backward, *inputs, vary=False).raise_if_failed()


def test_a_channel_with_a_single_value_has_no_variance():
    with pytest.raises(ShapeError, match=r"at least 2 values of a channel in a batch, got x of shape \(1, 1, 1, 3\)"):
        ops.batch_norm_forward(np.ones((1, 1, 1, 3)), np.ones(3), np.ones(3))
    with pytest.raises(ShapeError, match=r"expected scale of shape \(C,\) with C=3"):
        ops.batch_norm_forward(np.ones((2, 3)), np.ones(2), np.ones(3))
