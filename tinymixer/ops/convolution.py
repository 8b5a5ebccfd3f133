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

    See: lessons/15_convolutions.ipynb, "convolution" in lessons/cheatsheet.md, tests/ops/test_convolution.py
    """
    expect_shape("weight", weight, "kh kw I O")
    kh, kw, inputs, outputs = weight.shape
    expect_shape("x", x, "B height width I", I=inputs)
    windows = Windows(x.shape[1:3], (kh, kw), stride, padding)
    if bias is not None:
        expect_shape("bias", bias, "O", O=outputs)
    xp, kernel = namespace(x), weight.reshape(-1, outputs)
    y = xp.empty((x.shape[0], windows.down, windows.across, outputs), dtype=x.dtype)
    for group, columns in windows.columns(x):  # (images*down*across, kh*kw*I)
        xp.matmul(columns, kernel, out=y[group].reshape(-1, outputs))
    if bias is not None:
        y += bias
    return y, (x, weight, bias is not None, windows)


def convolution_backward(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The product goes back as in `linear_backward`, with columns in the place of x:

        dweight = columns^T dy        dbias[o] = sum_{b, u, v} dy[b, u, v, o]        dcolumns = dy weight^T

    A pixel stands in several columns, once for each window over it, and receives the sum of their gradients:

        dx[b, h, w, c] = sum_{i, j, o} dy[b, u, v, o] weight[i, j, c, o]        with u, v for which h, w are as above

    That is the transposed convolution. With stride 1, u = h - i + padding and v = w - j + padding, so that it is a
    convolution as well, of dy with the kernel turned by 180 degrees: `_backward_of_stride_1`.

    Columns are made anew: to keep them would take kh*kw times the memory of x.

    dy (B, down, across, O)  ->  dx (B, height, width, I), dweight (kh, kw, I, O), and dbias (O,) where there is a bias
    """
    x, weight, has_bias, windows = cache
    expect_shape("dy", dy, "B down across O", B=x.shape[0], down=windows.down, across=windows.across, O=weight.shape[3])
    turned = windows.turned()
    if turned is None:
        dx, dweight = _backward_of_any_stride(dy, x, weight, windows)
    else:
        dx, dweight = _backward_of_stride_1(dy, x, weight, turned)
    if not has_bias:
        return dx, dweight
    return dx, dweight, namespace(dy).sum(dy, axis=(0, 1, 2), dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)


def _backward_of_any_stride(dy: Array, x: Array, weight: Array, windows: Windows) -> tuple[Array, Array]:
    """dweight = columns^T dy, and each pixel's sum over the columns that it stands in: dx, dweight."""
    kh, kw, inputs, outputs = weight.shape
    xp, kernel = namespace(dy), weight.reshape(-1, outputs)  # (kh*kw*I, O)
    dx, dkernel = xp.empty(x.shape, dtype=x.dtype), xp.zeros(kernel.shape, dtype=weight.dtype)
    for group, columns in windows.columns(x):  # (images*down*across, kh*kw*I)
        rows = dy[group].reshape(-1, outputs)  # (images*down*across, O)
        dkernel += columns.T @ rows
        dcolumns = (rows @ kernel.T).reshape(-1, windows.down, windows.across, kh * kw, inputs)
        dx[group] = windows.put_back([dcolumns[:, :, :, place] for place in range(kh * kw)])
    return dx, dkernel.reshape(weight.shape)


def _backward_of_stride_1(dy: Array, x: Array, weight: Array, turned: Windows) -> tuple[Array, Array]:
    """Both gradients from the columns of dy, whose windows are as many as x has pixels: dx, dweight.

        dcolumns (B*height*width, kh*kw*O): a row holds dy[b, h - i + padding, w - j + padding, o] for all i, j, o

        dx = dcolumns @ turned kernel (kh*kw*O, I)        turned dkernel = dcolumns^T x

    The second line sums x[b, h, w, c] dy[b, u, v, o] over all pixels, which is dweight[i, j, c, o].
    """
    kh, kw, inputs, outputs = weight.shape
    xp, kernel = namespace(dy), weight[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, inputs)  # (kh*kw*O, I)
    dx, dkernel = xp.empty(x.shape, dtype=x.dtype), xp.zeros(kernel.shape, dtype=weight.dtype)
    for group, dcolumns in turned.columns(dy):  # (images*height*width, kh*kw*O)
        xp.matmul(dcolumns, kernel, out=dx[group].reshape(-1, inputs))
        dkernel += dcolumns.T @ x[group].reshape(-1, inputs)
    return dx, dkernel.reshape(kh, kw, outputs, inputs)[::-1, ::-1].transpose(0, 1, 3, 2)  # dweight (kh, kw, I, O)
