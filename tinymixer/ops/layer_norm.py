"""LayerNorm over the channels (Ba et al. 2016, arXiv 1607.06450)."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def layer_norm_forward(x: Array, scale: Array, bias: Array, eps: float = 1e-6) -> tuple[Array, Cache]:
    """Normalise each row of channels, then scale and shift (Ba et al. 2016; Mixer, section 2).

    x (..., C), scale (C,), bias (C,)  ->  y (..., C)

        x_hat = (x - mean(x)) / sqrt(var(x) + eps)        y = scale * x_hat + bias

    Raises ShapeError when scale or bias does not have one entry per channel.

    See: lessons/05_layer_norm.ipynb, "layer_norm" in lessons/cheatsheet.md, tests/ops/test_layer_norm.py
    """
    xp = namespace(x)
    channels = x.shape[-1]
    expect_shape("scale", scale, "C", C=channels)
    expect_shape("bias", bias, "C", C=channels)
    wide = statistics_dtype(x)
    centred = x - xp.mean(x, axis=-1, keepdims=True, dtype=wide)  # (..., C)
    inv_std = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + float(eps))  # (..., 1)
    x_hat = centred * inv_std  # (..., C)
    y = (scale * x_hat + bias).astype(x.dtype, copy=False)  # (..., C)
    return y, (x_hat, inv_std, scale)


def layer_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """With g = scale * dy, the gradient that reaches x_hat, and means over the row:

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat))

    The two subtracted terms come from the row's mean and variance, which depend on every x in the row.
    dscale and dbias are sums over all rows, which share scale and bias.

    dy (..., C)  ->  dx (..., C), dscale (C,), dbias (C,)
    """
    xp = namespace(dy)
    x_hat, inv_std, scale = cache
    expect_shape("dy", dy, "... C", C=scale.shape[0])
    rows = tuple(range(dy.ndim - 1))
    dscale = xp.sum(dy * x_hat, axis=rows, dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    dbias = xp.sum(dy, axis=rows, dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    g = (dy * scale).astype(x_hat.dtype, copy=False)  # (..., C)
    row_mean = xp.mean(g, axis=-1, keepdims=True)  # (..., 1)
    dx = inv_std * (g - row_mean - x_hat * xp.mean(g * x_hat, axis=-1, keepdims=True))  # (..., C)
    return dx.astype(dy.dtype, copy=False), dscale, dbias
