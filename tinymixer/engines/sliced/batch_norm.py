"""Batch norm over a batch whose images several threads hold. To compare: `ops/batch_norm.py`.

Each thread computes the sums over its own images, and `add_up` gives all threads the sums over all. So the statistics
are the whole batch's, and nothing but two or three vectors of C numbers passes between the threads.

NumPy is slow where rows are short, and C is 20 to 160. So the pixels of an image count as one row, (pixels*C,), with
each channel's number repeated `pixels` times. These passes are bound by memory: x is kept instead of x_hat, which is
made again where it is used, a part at a time.
"""

import math
from collections.abc import Callable

import numpy as np

from tinymixer.engines.sliced.parts import NUMBERS, parts_of
from tinymixer.errors import ShapeError
from tinymixer.ops.batch_norm import BatchNormCache
from tinymixer.ops.shapes import expect_shape

AddUp = Callable[[np.ndarray], np.ndarray]  # a vector of this thread  ->  the sum of all threads' vectors


class UncentredCache(BatchNormCache):
    """A cache that holds x in the place of x_hat: x_hat = (x - mean) * inv_std."""


def batch_norm_forward(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float = 1e-5, *, add_up: AddUp
) -> tuple[np.ndarray, BatchNormCache]:
    """x (..., C), scale (C,), bias (C,)  ->  y (..., C), cache, whose statistics are those of all threads' images"""
    channels = x.shape[-1]
    expect_shape("scale", scale, "C", C=channels)
    expect_shape("bias", bias, "C", C=channels)
    rows = _image_rows(x)  # (N, pixels*C)
    total = add_up(np.append(_by_channel(rows.sum(axis=0), channels), x.size // channels))  # (C + 1,)
    n = round(float(total[-1]))
    if n < 2:
        raise ShapeError(f"batch norm needs at least 2 values of a channel in a batch, got x of shape {tuple(x.shape)}")
    mean = (total[:-1] / n).astype(x.dtype, copy=False)  # (C,)

    squares, wide_mean = np.zeros(rows.shape[1], x.dtype), _along(mean, rows)  # (pixels*C,) each
    for part in parts_of(rows):
        centred = rows[part] - wide_mean
        centred *= centred
        squares += centred.sum(axis=0)
    variance = add_up(_by_channel(squares, channels)) / n  # (C,)
    inv_std = 1.0 / np.sqrt(variance + float(eps))  # (C,)

    y = np.empty(rows.shape, x.dtype)  # (N, pixels*C)
    wide_factor, wide_bias = _along(scale * inv_std, rows), _along(bias, rows)  # (pixels*C,) each
    for part in parts_of(rows):
        np.subtract(rows[part], wide_mean, out=y[part])
        y[part] *= wide_factor
        y[part] += wide_bias
    return y.reshape(x.shape), UncentredCache(x, inv_std, scale, mean, variance * (n / (n - 1)))


def batch_norm_backward(
    dy: np.ndarray, cache: BatchNormCache, *, add_up: AddUp
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dy (..., C)  ->  dx (..., C), and dscale (C,), dbias (C,) of this thread's images: the threads' gradients add up.

    dx needs the sums over all images, n of them: dx = scale * inv_std * (dy - dbias / n - x_hat * dscale / n).
    """
    x, inv_std, scale, mean, _ = cache
    channels = len(scale)
    expect_shape("dy", dy, "... C", C=channels)
    rows, x_rows = _image_rows(dy), _image_rows(x)  # (N, pixels*C) each
    wide_mean = _along(mean, rows)  # (pixels*C,)
    products, sums = np.zeros((2, rows.shape[1]), dy.dtype)  # (pixels*C,) each, of dy * (x - mean) and of dy
    for part in parts_of(rows):
        centred = x_rows[part] - wide_mean
        centred *= rows[part]
        products += centred.sum(axis=0)
        sums += rows[part].sum(axis=0)
    dscale, dbias = _by_channel(products, channels) * inv_std, _by_channel(sums, channels)  # (C,) each
    total = add_up(np.concatenate([dscale, dbias, [dy.size // channels]]).astype(np.float64))  # (2 C + 1,)
    means = (total[:-1] / total[-1]).astype(dy.dtype)  # of dy * x_hat, then of dy

    dx = np.empty(rows.shape, dy.dtype)  # (N, pixels*C)
    wide_slope, wide_shift = _along(means[:channels] * inv_std, rows), _along(means[channels:], rows)
    wide_factor = _along(scale * inv_std, rows)  # (pixels*C,) each
    for part in parts_of(rows):
        np.subtract(x_rows[part], wide_mean, out=dx[part])
        dx[part] *= wide_slope
        np.subtract(rows[part], dx[part], out=dx[part])
        dx[part] -= wide_shift
        dx[part] *= wide_factor
    return dx.reshape(dy.shape), dscale, dbias


def _image_rows(x: np.ndarray) -> np.ndarray:
    """x (B, height, width, C)  ->  (B, height*pixels*C), or (B*height, width*C) of large images; x (N, C) as it is"""
    image = math.prod(x.shape[1:])
    return x.reshape(-1, image if image <= NUMBERS else math.prod(x.shape[-2:]))


def _along(vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """vector (C,), rows (N, pixels*C)  ->  the vector repeated, (pixels*C,)"""
    return np.tile(vector, rows.shape[1] // len(vector))


def _by_channel(wide: np.ndarray, channels: int) -> np.ndarray:
    """Sums (pixels*C,)  ->  (C,)"""
    return wide.reshape(-1, channels).sum(axis=0)
