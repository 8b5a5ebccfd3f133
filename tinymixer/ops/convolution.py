"""The convolution of images with a kernel: one matrix product over all windows (im2col)."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.sliding import Windows


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
    y = _columns(x, windows) @ weight.reshape(-1, outputs)  # (B*down*across, O)
    if bias is not None:
        expect_shape("bias", bias, "O", O=outputs)
        y = y + bias
    return y.reshape(x.shape[0], windows.down, windows.across, outputs), (x, weight, bias is not None, windows)


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
    images, down, across = x.shape[0], windows.down, windows.across
    expect_shape("dy", dy, "B down across O", B=images, down=down, across=across, O=outputs)
    dy_rows = dy.reshape(-1, outputs)  # (B*down*across, O)
    dweight = (_columns(x, windows).T @ dy_rows).reshape(weight.shape)  # (kh, kw, I, O)
    dcolumns = (dy_rows @ weight.reshape(-1, outputs).T).reshape(images, down, across, -1, inputs)
    dx = windows.put_back([dcolumns[:, :, :, place] for place in range(dcolumns.shape[3])])  # (B, height, width, I)
    if not has_bias:
        return dx, dweight
    return dx, dweight, xp.sum(dy_rows, axis=0, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)


def _columns(x: Array, windows: Windows) -> Array:
    """x (B, height, width, I)  ->  columns (B*down*across, kh*kw*I), places row by row in a window, then channels."""
    parts = windows.take(x)  # kh*kw views (B, down, across, I)
    columns = namespace(x).concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return columns.reshape(-1, len(parts) * x.shape[3])
