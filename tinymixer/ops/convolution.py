"""The convolution of images with a kernel: one matrix product over all windows (im2col)."""

import numpy as np

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.sliding import Windows

CACHE = 2**20  # bytes of columns that are made at once


def convolution_forward(
    x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0
) -> tuple[Array, Cache]:
    """Multiply every window of each image with the same kernel (LeCun et al. 1989).

    x (B, height, width, I), weight (kh, kw, I, O), bias (O,) or None  ->  y (B, down, across, O)

        y[b, u, v, o] = bias[o] + sum_{i, j, c} x[b, h, w, c] weight[i, j, c, o]
        h = stride*u + i - padding        w = stride*v + j - padding

    Pixels beyond the border are 0, and down = (height + 2 padding - kh) / stride + 1, rounded down. (As in all deep
    learning the kernel is not flipped: the statistician's word for this is cross-correlation.)

    The pixels of a window in a row are a row of a matrix, the columns of "im2col", which makes the sum one product:

        columns (B*down*across, kh*kw*I) @ weight (kh*kw*I, O)

    Raises ShapeError when the sizes do not fit.

    See: "convolution" in lessons/cheatsheet.md, tests/ops/test_convolution.py
    """
    expect_shape("weight", weight, "kh kw I O")
    kh, kw, inputs, outputs = weight.shape
    expect_shape("x", x, "B height width I", I=inputs)
    windows = Windows(x.shape[1:3], (kh, kw), stride, padding)
    if bias is not None:
        expect_shape("bias", bias, "O", O=outputs)
    kernel, parts = weight.reshape(-1, outputs), []
    for group in _groups(x, windows):
        part = _columns(x[group], windows) @ kernel  # (images*down*across, O)
        parts.append(part if bias is None else part + bias)
    y = _joined(parts).reshape(x.shape[0], windows.down, windows.across, outputs)
    return y, (x, weight, bias is not None, windows)


def convolution_backward(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The product goes back as in `linear_backward`, with columns in the place of x:

        dweight = columns^T dy        dbias[o] = sum_{b, u, v} dy[b, u, v, o]        dcolumns = dy weight^T

    A pixel stands in several columns, once for each window over it, and receives the sum of their gradients:

        dx[b, h, w, c] = sum_{i, j, o} dy[b, u, v, o] weight[i, j, c, o]        with u, v for which h, w are as above

    That is the transposed convolution. With stride 1 it is a convolution of dy with the kernel turned by 180 degrees.
    The columns are made anew: to keep them would take kh*kw times the memory of x.

    dy (B, down, across, O)  ->  dx (B, height, width, I), dweight (kh, kw, I, O), and dbias (O,) where there is a bias
    """
    xp = namespace(dy)
    x, weight, has_bias, windows = cache
    inputs, outputs = weight.shape[2:]
    down, across = windows.down, windows.across
    expect_shape("dy", dy, "B down across O", B=x.shape[0], down=down, across=across, O=outputs)
    kernel, parts = weight.reshape(-1, outputs), []
    dkernel = xp.zeros(kernel.shape, dtype=weight.dtype)  # (kh*kw*I, O)
    for group in _groups(x, windows):
        rows = dy[group].reshape(-1, outputs)  # (images*down*across, O)
        dkernel += _columns(x[group], windows).T @ rows
        dcolumns = (rows @ kernel.T).reshape(-1, down, across, kernel.shape[0] // inputs, inputs)
        parts.append(windows.put_back([dcolumns[:, :, :, place] for place in range(dcolumns.shape[3])]))
    dx, dweight = _joined(parts), dkernel.reshape(weight.shape)  # (B, height, width, I), (kh, kw, I, O)
    if not has_bias:
        return dx, dweight
    return dx, dweight, xp.sum(dy, axis=(0, 1, 2), dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)


def _groups(x: Array, windows: Windows) -> list[slice]:
    """Groups of images whose columns fit into a processor's cache: kh*kw times x does not, and memory is slow.

    A GPU takes all images at once.
    """
    images = x.shape[0]
    columns = windows.down * windows.across * windows.size[0] * windows.size[1] * x.shape[3] * x.dtype.itemsize
    together = max(1, CACHE // columns) if isinstance(x, np.ndarray) and columns else max(1, images)
    return [slice(start, start + together) for start in range(0, max(1, images), together)]


def _joined(parts: list[Array]) -> Array:
    """The groups' arrays, one after the other along the images."""
    return namespace(parts[0]).concatenate(parts) if len(parts) > 1 else parts[0]


def _columns(x: Array, windows: Windows) -> Array:
    """x (B, height, width, I)  ->  columns (B*down*across, kh*kw*I), places row by row in a window, then channels."""
    parts = windows.take(x)  # kh*kw views (B, down, across, I)
    columns = namespace(x).concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return columns.reshape(-1, len(parts) * x.shape[3])
