"""LayerNorm in few passes. To compare: `ops/layer_norm.py`."""

import numpy as np

from tinymixer.ops.shapes import expect_shape

Cache = tuple[np.ndarray, np.ndarray, np.ndarray]


def layer_norm_forward(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float = 1e-6
) -> tuple[np.ndarray, Cache]:
    """x (..., C), scale (C,), bias (C,)  ->  y (..., C), cache: x_hat (..., C), inv_std (..., 1), scale (C,)"""
    channels = x.shape[-1]
    expect_shape("scale", scale, "C", C=channels)
    expect_shape("bias", bias, "C", C=channels)
    x_hat = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    variance = np.vecdot(x_hat, x_hat)[..., None] / channels  # (..., 1)
    inv_std = 1.0 / np.sqrt(variance + float(eps))  # (..., 1)
    x_hat *= inv_std
    y = x_hat * scale  # (..., C)
    y += bias
    return y, (x_hat, inv_std, scale)


def layer_norm_backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dy (..., C)  ->  dx (..., C), dscale (C,), dbias (C,)

    dy * x_hat serves dscale, its sum over rows, and the mean of g * x_hat over a row, its product with scale.
    """
    x_hat, inv_std, scale = cache
    channels = len(scale)
    expect_shape("dy", dy, "... C", C=channels)
    product = dy * x_hat  # (..., C)
    dscale = product.reshape(-1, channels).sum(axis=0)  # (C,)
    dbias = dy.reshape(-1, channels).sum(axis=0)  # (C,)
    slope = (product @ scale)[..., None] / channels  # (..., 1), mean of g * x_hat
    dx = np.multiply(dy, scale, out=product)  # (..., C), g
    dx -= (dy @ scale)[..., None] / channels
    dx -= x_hat * slope
    dx *= inv_std
    return dx, dscale, dbias
