"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167): with the batch's statistics, and with kept ones."""

from typing import NamedTuple

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


class BatchNormCache(NamedTuple):
    """What the backward pass needs, and the batch's statistics, which the layer adds to its running ones.

    x_hat (..., C), inv_std (C,), scale (C,); mean (C,), variance (C,): the unbiased one, a sum divided by n - 1
    """

    x_hat: Array
    inv_std: Array
    scale: Array
    mean: Array
    variance: Array


def batch_norm_forward(x: Array, scale: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, BatchNormCache]:
    """Normalise each channel over the whole batch, then scale and shift (Ioffe and Szegedy 2015, algorithm 1).

    x (..., C), scale (C,), bias (C,)  ->  y (..., C)

        x_hat = (x - mean(x)) / sqrt(var(x) + eps)        y = scale * x_hat + bias

    mean and var go over all axes but the last: over the n = B*height*width values of a channel. var divides by n. What
    an image becomes therefore depends on the others in its batch.

    Raises ShapeError when scale or bias does not have one entry per channel, and where a channel has a single value,
    whose variance is not known.

    See: lessons/15_convolutions.ipynb, "batch_norm" in lessons/cheatsheet.md, tests/ops/test_batch_norm.py
    """
    xp = namespace(x)
    channels = x.shape[-1]
    expect_shape("scale", scale, "C", C=channels)
    expect_shape("bias", bias, "C", C=channels)
    n = x.size // max(channels, 1)
    if n < 2:
        raise ShapeError(f"batch norm needs at least 2 values of a channel in a batch, got x of shape {tuple(x.shape)}")
    rows = tuple(range(x.ndim - 1))
    mean = xp.mean(x, axis=rows, dtype=statistics_dtype(x))  # (C,)
    centred = x - mean  # (..., C)
    variance = xp.mean(centred * centred, axis=rows)  # (C,)
    inv_std = 1.0 / xp.sqrt(variance + float(eps))  # (C,)
    x_hat = centred * inv_std  # (..., C)
    y = (scale * x_hat + bias).astype(x.dtype, copy=False)  # (..., C)
    return y, BatchNormCache(x_hat, inv_std, scale, mean, variance * (n / (n - 1)))


def batch_norm_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """LayerNorm's derivation with rows and columns exchanged. With g = scale * dy, and means over a channel's n values:

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat))
        dscale = sum(dy * x_hat)        dbias = sum(dy)

    The two subtracted terms come from the batch's mean and variance, which depend on every x of the channel. scale is
    the same for a whole channel and comes out of the means, which are then dbias / n and dscale / n.

    dy (..., C)  ->  dx (..., C), dscale (C,), dbias (C,)
    """
    xp = namespace(dy)
    x_hat, inv_std, scale = cache.x_hat, cache.inv_std, cache.scale
    expect_shape("dy", dy, "... C", C=scale.shape[0])
    rows = tuple(range(dy.ndim - 1))
    n = dy.size // scale.shape[0]
    dscale = xp.sum(dy * x_hat, axis=rows, dtype=x_hat.dtype)  # (C,)
    dbias = xp.sum(dy, axis=rows, dtype=x_hat.dtype)  # (C,)
    dx = (scale * inv_std) * (dy - dbias / n - x_hat * (dscale / n))  # (..., C)
    return (
        dx.astype(dy.dtype, copy=False),
        dscale.astype(scale.dtype, copy=False),
        dbias.astype(scale.dtype, copy=False),
    )


def batch_norm_inference_forward(
    x: Array, scale: Array, bias: Array, mean: Array, variance: Array, eps: float = 1e-5
) -> tuple[Array, Cache]:
    """Normalise each channel with statistics that were kept (Ioffe and Szegedy 2015, algorithm 2, line 11).

    x (..., C), scale, bias, mean, variance (C,)  ->  y (..., C)

        y = scale * (x - mean) / sqrt(variance + eps) + bias

    mean and variance are constants here, so every image is treated by itself.

    Raises ShapeError when one of the vectors does not have one entry per channel.

    See: lessons/15_convolutions.ipynb, "batch_norm_inference" in lessons/cheatsheet.md,
    tests/ops/test_batch_norm_inference.py
    """
    xp = namespace(x)
    for name, vector in (("scale", scale), ("bias", bias), ("mean", mean), ("variance", variance)):
        expect_shape(name, vector, "C", C=x.shape[-1])
    wide = statistics_dtype(x)
    inv_std = 1.0 / xp.sqrt(variance.astype(wide, copy=False) + float(eps))  # (C,)
    x_hat = (x - mean) * inv_std  # (..., C)
    return (scale * x_hat + bias).astype(x.dtype, copy=False), (x_hat, inv_std, scale)


def batch_norm_inference_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """A straight line for each channel: dx = scale * inv_std * dy, dscale = sum(dy * x_hat), dbias = sum(dy).

    dy (..., C)  ->  dx (..., C), dscale (C,), dbias (C,)
    """
    xp = namespace(dy)
    x_hat, inv_std, scale = cache
    expect_shape("dy", dy, "... C", C=scale.shape[0])
    rows = tuple(range(dy.ndim - 1))
    dscale = xp.sum(dy * x_hat, axis=rows, dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    dbias = xp.sum(dy, axis=rows, dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    return (dy * (scale * inv_std)).astype(dy.dtype, copy=False), dscale, dbias
