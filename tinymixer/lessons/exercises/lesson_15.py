"""Exercises of lesson 15: convolutions, their gradients, how far they see, and batch norm."""

import math
from functools import reduce

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import convolutions as faults
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.ops.batch_norm import BatchNormCache
from tinymixer.ops.sliding import Windows

# ------------------------------------------------------------------------------------------ 15.1 the matrix


def _matrix(kernel, length):
    """The package's convolution of the rows of an identity matrix, each an image of one row."""
    one_at_a_time = np.eye(length)[:, None, :, None]  # (length, 1, length, 1)
    y, _ = ops.convolution_forward(one_at_a_time, np.asarray(kernel)[None, :, None, None])  # (length, 1, N, 1)
    return y[:, 0, :, 0].T


def _placed(kernel, length, rows, start=lambda u: u):
    """A matrix with the kernel in each row, from column start(u) on, as far as there are columns."""
    matrix = np.zeros((rows, length))
    for u in range(rows):
        for i, weight in enumerate(kernel):
            if 0 <= start(u) + i < length:
                matrix[u, start(u) + i] = weight
    return matrix


exercise(
    "15.1",
    "A convolution as a matrix",
    "my_convolution_matrix",
    reference=_matrix,
    cases=lambda generator: ((generator.normal(size=size), length) for size, length in ((3, 7), (2, 3), (4, 4))),
    returns="matrix",
    mistakes=[
        Mistake(
            "The kernel is turned around. That is how a mathematics book defines a convolution; here x[u + i] meets "
            "kernel[i].",
            lambda kernel, length: _matrix(kernel[::-1], length),
        ),
        Mistake(
            "This is the transposed matrix. A row belongs to a number that comes out, a column to one that goes in.",
            lambda kernel, length: _matrix(kernel, length).T,
        ),
        Mistake(
            "The kernel stands at the same place in every row. From row to row it moves one column to the right.",
            lambda kernel, length: _placed(kernel, length, length - len(kernel) + 1, lambda u: 0),
        ),
        Mistake(
            "The last row is missing: how many places are there for a kernel of K numbers among N? Try K = N.",
            lambda kernel, length: _matrix(kernel, length)[:-1],
        ),
        Mistake(
            "There are rows in which the kernel hangs over the end. Only those belong to the result in which all of it "
            "meets numbers.",
            lambda kernel, length: _placed(kernel, length, length),
        ),
        Mistake(
            "There are rows in which the kernel begins again at the front. Only those belong to the result in which "
            "all of it meets neighbours.",
            lambda kernel, length: np.stack(
                [np.roll(np.r_[kernel, np.zeros(length - len(kernel))], u) for u in range(length)]
            ),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 15.2 im2col

# images, height, width, channels, kh, kw, stride, padding: all different, then square, then one window, then 1 x 1
WINDOWS = ((2, 5, 7, 3, 2, 3, 2, 1), (2, 4, 4, 1, 3, 3, 1, 1), (1, 3, 3, 2, 3, 3, 1, 0), (1, 4, 4, 2, 1, 1, 2, 0))


def _im2col_inputs(generator):
    for images, height, width, channels, kh, kw, stride, padding in WINDOWS:
        x = generator.normal(size=(images, height, width, channels))
        yield x, kh, kw, stride, padding


def _im2col(x, kh, kw, stride, padding):
    windows = Windows(x.shape[1:3], (kh, kw), stride, padding)
    rows = np.concatenate([columns.copy() for _, columns in windows.columns(x)])
    return rows.reshape(len(x), windows.down, windows.across, -1)


def _multiple(place, stride):
    return place * stride


def _one_by_one(place, stride):
    return place


def _centred(padding):
    return padding, padding


def _taken(order=(0, 1, 2), top=_multiple, left=_multiple, border=_centred, fewer=lambda windows: (0, 0)):
    """im2col with a window's axes (row, column, channel) in another order, other places, another border, fewer rows."""

    def answer(x, kh, kw, stride, padding):
        windows = Windows(x.shape[1:3], (kh, kw), stride, padding)
        framed = np.pad(x, ((0, 0), border(padding), border(padding), (0, 0)))
        down, across = (
            max(0, all_of_them - less)
            for all_of_them, less in zip((windows.down, windows.across), fewer(windows), strict=True)
        )
        out = np.zeros((len(x), down, across, kh * kw * x.shape[3]))
        for u in range(down):
            for v in range(across):
                rows = slice(top(u, stride), top(u, stride) + kh)
                columns = slice(left(v, stride), left(v, stride) + kw)
                window = framed[:, rows, columns]  # (B, kh, kw, C)
                out[:, u, v] = window.transpose(0, *(axis + 1 for axis in order)).reshape(len(x), -1)
        return out

    return answer


def _stride_wide(x, kh, kw, stride, padding):
    windows = Windows(x.shape[1:3], (kh, kw), stride, padding)
    framed = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out = np.zeros((len(x), windows.down, windows.across, kh * kw * x.shape[3]))
    for u in range(windows.down):
        for v in range(windows.across):
            rows, columns = slice(u * stride, (u + 1) * stride), slice(v * stride, (v + 1) * stride)
            out[:, u, v] = framed[:, rows, columns].reshape(len(x), -1)
    return out


def _hanging_over(counts):
    """im2col with as many windows as counts(length, size, stride, padding) says, also where they hang over the end."""

    def answer(x, kh, kw, stride, padding):
        framed = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        down, across = (counts(x.shape[1 + axis], (kh, kw)[axis], stride, padding) for axis in (0, 1))
        out = np.zeros((len(x), down, across, kh * kw * x.shape[3]))
        for u in range(down):
            for v in range(across):
                rows, columns = slice(u * stride, u * stride + kh), slice(v * stride, v * stride + kw)
                out[:, u, v] = framed[:, rows, columns].reshape(len(x), -1)
        return out

    return answer


def _every_step_of_the_image(x, kh, kw, stride, padding):
    framed = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    starts = [range(0, length, stride) for length in x.shape[1:3]]
    rows = [framed[:, u : u + kh, v : v + kw].reshape(len(x), -1) for u in starts[0] for v in starts[1]]
    return np.stack(rows, axis=1).reshape(len(x), len(starts[0]), len(starts[1]), -1)


def _all_images_in_a_row(x, kh, kw, stride, padding):
    out = _im2col(x, kh, kw, stride, padding)
    out[:, 0, 0] = out[:, 0, 0].ravel()
    return out


def _without_border(windows):
    """How many windows are missing down and across where the border is not counted."""
    whole = [(length - size) // windows.stride + 1 for length, size in zip(windows.image, windows.size, strict=True)]
    return windows.down - whole[0], windows.across - whole[1]


def _with_half_the_border(windows):
    """How many are missing where the border is counted on one side only."""
    half = [
        (length + windows.padding - size) // windows.stride + 1
        for length, size in zip(windows.image, windows.size, strict=True)
    ]
    return windows.down - half[0], windows.across - half[1]


exercise(
    "15.2",
    "Windows as rows: im2col",
    "my_im2col",
    reference=_im2col,
    cases=_im2col_inputs,
    returns="columns",
    mistakes=[
        Mistake(
            "Windows that are neighbours lie one pixel apart here. Window u begins in row stride * u of the padded "
            "image.",
            _taken(top=_one_by_one, left=_one_by_one),
        ),
        Mistake(
            "From window to window across it is one pixel here. The stride holds in both directions.",
            _taken(left=_one_by_one),
        ),
        Mistake(
            "From window to window down it is one pixel here. The stride holds in both directions.",
            _taken(top=_one_by_one),
        ),
        Mistake(
            "There are too few windows. The border has room for more of them: the sum has 2 * padding in it.",
            _taken(fewer=_without_border),
        ),
        Mistake(
            "The border is counted once in down and across. There is one on each side: two of them.",
            _taken(fewer=_with_half_the_border),
        ),
        Mistake(
            "There is one window too few in each direction. Where the window just fits, there is one place for it, not "
            "none.",
            _taken(fewer=lambda windows: (1, 1)),
        ),
        Mistake(
            "The channels come first in each row here. The kernel is (kh, kw, inputs, outputs), so the channels of a "
            "pixel are neighbours: row of the window, column, channel.",
            _taken((2, 0, 1)),
        ),
        Mistake(
            "The pixels of a window go column by column here. They go row by row, as the kernel's axes (kh, kw) do.",
            _taken((1, 0, 2)),
        ),
        Mistake(
            "The border stands below and to the right only, twice as wide. Put `padding` pixels on each of the four "
            "sides.",
            _taken(border=lambda padding: (0, 2 * padding)),
        ),
        Mistake(
            "The border stands above and to the left only, twice as wide. Put `padding` pixels on each of the four "
            "sides.",
            _taken(border=lambda padding: (2 * padding, 0)),
        ),
        Mistake(
            "The image has no border here. Put `padding` pixels of zeros on each of its four sides first.",
            lambda x, kh, kw, stride, padding: _im2col(x, kh, kw, stride, 0),
        ),
        Mistake(
            "The border repeats the image's edge. It is made of zeros.",
            lambda x, kh, kw, stride, padding: _im2col(
                np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), mode="edge"), kh, kw, stride, 0
            ),
        ),
        Mistake(
            "kh and kw have changed places: kh is the window's height, kw its width.",
            lambda x, kh, kw, stride, padding: _im2col(x, kw, kh, stride, padding),
        ),
        Mistake(
            "down and across have changed places in the result: the rows of windows come first.",
            lambda x, kh, kw, stride, padding: _im2col(x, kh, kw, stride, padding).transpose(0, 2, 1, 3),
        ),
        Mistake(
            "The last window hangs over the end: where it does not fit any more, there is none. The division rounds "
            "down.",
            _hanging_over(lambda length, size, stride, padding: -(-(length + 2 * padding - size) // stride) + 1),
        ),
        Mistake(
            "A window begins at every step of the image, even where it hangs over the end. How many fit in?",
            _hanging_over(lambda length, size, stride, padding: -(-length // stride)),
        ),
        Mistake(
            "A window begins at every step of the image, even where it hangs over the end. How many fit in?",
            _every_step_of_the_image,
        ),
        Mistake(
            "The windows are cut `stride` pixels wide. The stride says where a window begins; its size is kh x kw.",
            _stride_wide,
        ),
        Mistake(
            "The windows of all images went into one row of numbers. Each image has a row of its own.",
            _all_images_in_a_row,
        ),
        Mistake(
            "The windows are still images, (kh, kw, C). Make one row of numbers of each.",
            lambda x, kh, kw, stride, padding: _as_images(_im2col(x, kh, kw, stride, padding), kh, kw),
        ),
    ],
)


def _as_images(columns, kh, kw):
    return columns.reshape(*columns.shape[:3], kh, kw, -1)


# ------------------------------------------------------------------------------------------ 15.3 the kernel's gradient


def _kernel_inputs(generator):
    """dy (B, down, across, O), columns (B, down, across, kh*kw*I), kh, kw."""
    for images, down, across, kh, kw, inputs, outputs in (
        (2, 3, 4, 2, 3, 5, 7),
        (2, 2, 2, 2, 2, 2, 2),
        (1, 1, 2, 3, 1, 1, 4),
    ):
        yield (
            generator.normal(size=(images, down, across, outputs)),
            generator.normal(size=(images, down, across, kh * kw * inputs)),
            kh,
            kw,
        )


def _kernel_gradient(dy, columns, kh, kw):
    weight = np.zeros((columns.shape[-1], dy.shape[-1]))
    _, dweight, dbias = ops.linear_backward(dy, (columns, weight))
    return dweight.reshape(kh, kw, -1, dy.shape[-1]), dbias


def _with_dweight(formula):
    """A mistake in dweight alone: formula(dy, columns, kh, kw)."""
    return lambda dy, columns, kh, kw: (formula(dy, columns, kh, kw), _kernel_gradient(dy, columns, kh, kw)[1])


def _with_dbias(formula):
    """A mistake in dbias alone: formula(dy)."""
    return lambda dy, columns, kh, kw: (_kernel_gradient(dy, columns, kh, kw)[0], formula(dy))


def _matrix_of(dy, columns):
    """dweight as a matrix: (kh*kw*I, O)."""
    return _kernel_gradient(dy, columns, 1, 1)[0].reshape(columns.shape[-1], -1)


exercise(
    "15.3",
    "The gradient of the kernel",
    "my_kernel_gradient",
    reference=_kernel_gradient,
    cases=_kernel_inputs,
    returns=("dweight", "dbias"),
    mistakes=[
        Mistake(
            "dweight is still a matrix (kh*kw*I, O). Give it the four axes of the kernel.",
            _with_dweight(lambda dy, columns, kh, kw: _matrix_of(dy, columns)),
        ),
        Mistake(
            "dweight is the transposed matrix, (O, kh*kw*I): which of the two factors has to be turned?",
            _with_dweight(lambda dy, columns, kh, kw: _matrix_of(dy, columns).T),
        ),
        Mistake(
            "The product is turned the wrong way round: its first axis belongs to the outputs, and the reshape spreads "
            "them over the window.",
            _with_dweight(lambda dy, columns, kh, kw: _matrix_of(dy, columns).T.reshape(kh, kw, -1, dy.shape[-1])),
        ),
        Mistake(
            "The reshape puts the inputs before the window. A row of the columns goes: row of the window, column, "
            "input.",
            _with_dweight(
                lambda dy, columns, kh, kw: (
                    _matrix_of(dy, columns).reshape(-1, kh, kw, dy.shape[-1]).transpose(1, 2, 0, 3)
                )
            ),
        ),
        Mistake(
            "kh and kw have changed places in dweight: the kernel's height comes first.",
            _with_dweight(lambda dy, columns, kh, kw: _matrix_of(dy, columns).reshape(kw, kh, -1, dy.shape[-1])),
        ),
        Mistake(
            "dweight is that of the first image alone. All windows of all images share the kernel.",
            _with_dweight(lambda dy, columns, kh, kw: _kernel_gradient(dy[:1], columns[:1], kh, kw)[0]),
        ),
        Mistake(
            "dweight has an entry per image. All images share the kernel: sum over them too.",
            _with_dweight(
                lambda dy, columns, kh, kw: np.stack(
                    [_kernel_gradient(dy[n : n + 1], columns[n : n + 1], kh, kw)[0] for n in range(len(dy))]
                )
            ),
        ),
        Mistake(
            "dweight is not summed over the images, and the reshape counts them among the inputs. All images share the "
            "kernel: sum over them too.",
            _with_dweight(
                lambda dy, columns, kh, kw: np.einsum("buvn,buvo->bno", columns, dy).reshape(kh, kw, -1, dy.shape[-1])
            ),
        ),
        Mistake(
            "dweight is a mean over the images. Each adds its whole share: take the sum.",
            _with_dweight(lambda dy, columns, kh, kw: _kernel_gradient(dy, columns, kh, kw)[0] / len(dy)),
        ),
        Mistake(
            "dweight is a mean over the windows. Each adds its whole share: take the sum.",
            _with_dweight(
                lambda dy, columns, kh, kw: _kernel_gradient(dy, columns, kh, kw)[0] / math.prod(dy.shape[:3])
            ),
        ),
        Mistake(
            "dweight is right, dbias sums over the images alone. All windows of an image share the bias, too.",
            _with_dbias(lambda dy: dy.sum(axis=0)),
        ),
        Mistake(
            "dweight is right, dbias sums over the windows of each image, but all images share the bias.",
            _with_dbias(lambda dy: dy.sum(axis=(1, 2))),
        ),
        Mistake(
            "dweight is right, dbias is a mean. Every window adds its whole share: take the sum.",
            _with_dbias(lambda dy: dy.mean(axis=(0, 1, 2))),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 15.4 windows put back


def _put_back_inputs(generator):
    """dcolumns (B, down, across, kh, kw, C), the image's shape, stride, padding."""
    for images, height, width, channels, kh, kw, stride, padding in WINDOWS:
        windows = Windows((height, width), (kh, kw), stride, padding)
        shape = images, windows.down, windows.across, kh, kw, channels
        yield generator.normal(size=shape), (images, height, width, channels), stride, padding


def _put_back(dcolumns, shape, stride, padding):
    kh, kw = dcolumns.shape[3:5]
    windows = Windows(shape[1:3], (kh, kw), stride, padding)
    return windows.put_back([dcolumns[:, :, :, i, j] for i in range(kh) for j in range(kw)])


def _inside(framed, padding, shape):
    return framed[:, padding : padding + shape[1], padding : padding + shape[2]]


def _put(cut=_inside, add=True, start=lambda u, stride: stride * u, left=None):
    """Windows put back with another cut, written in the place of added, or to other places."""

    def answer(dcolumns, shape, stride, padding):
        images, height, width, channels = shape
        _, down, across, kh, kw, _ = dcolumns.shape
        framed = np.zeros((images, height + 2 * padding, width + 2 * padding, channels))
        for u in range(down):
            for v in range(across):
                rows = slice(start(u, stride), start(u, stride) + kh)
                first = (left or start)(v, stride)
                columns = slice(first, first + kw)
                before = framed[:, rows, columns] if add else 0
                framed[:, rows, columns] = before + dcolumns[:, u, v]
        return cut(framed, padding, shape)

    return answer


def _without_a_border(dcolumns, shape, stride, padding):
    """Windows put back into an image without border, where the first of them begin before it."""
    dx = np.zeros(shape)
    _, down, across, kh, kw, _ = dcolumns.shape
    for u in range(down):
        for v in range(across):
            top, left = u * stride - padding, v * stride - padding
            dx[:, top : top + kh, left : left + kw] += dcolumns[:, u, v]
    return dx


def _sums_of_windows(dcolumns, shape, stride, padding):
    """Each window's sum in its first pixel."""
    framed = np.zeros((shape[0], shape[1] + 2 * padding, shape[2] + 2 * padding, shape[3]))
    for u in range(dcolumns.shape[1]):
        for v in range(dcolumns.shape[2]):
            framed[:, u * stride, v * stride] += dcolumns[:, u, v].sum(axis=(1, 2))
    return _inside(framed, padding, shape)


def _shared_out(dcolumns, shape, stride, padding):
    counts = _put_back(np.ones_like(dcolumns), shape, stride, padding)
    return _put_back(dcolumns, shape, stride, padding) / np.maximum(counts, 1)


exercise(
    "15.4",
    "Windows added back",
    "my_add_windows_back",
    reference=_put_back,
    cases=_put_back_inputs,
    returns="dx",
    mistakes=[
        Mistake(
            "The windows overwrite each other. A pixel under several windows receives the sum of what comes from all "
            "of them.",
            _put(add=False),
        ),
        Mistake(
            "The border is still there. It was put around the image in forward, and nobody asks for its gradient.",
            _put(cut=lambda framed, padding, shape: framed),
        ),
        Mistake(
            "The border is cut off at the wrong end: the image begins `padding` rows and columns inside.",
            _put(cut=lambda framed, padding, shape: framed[:, : shape[1], : shape[2]]),
        ),
        Mistake(
            "The border is cut off at the wrong end: the image begins `padding` rows and columns inside.",
            _put(cut=lambda framed, padding, shape: framed[:, 2 * padding :, 2 * padding :]),
        ),
        Mistake(
            "The end of the slice is -padding. Without a border that is 0, and nothing is left. Count from the front: "
            "the image has height rows and width columns.",
            _put(cut=lambda framed, padding, shape: framed[:, padding:-padding, padding:-padding]),
        ),
        Mistake(
            "The windows are put back one pixel apart. Window u came from row stride * u of the padded image.",
            _put(start=lambda u, stride: u),
        ),
        Mistake(
            "Across, the windows are put back one pixel apart. The stride holds in both directions.",
            _put(left=_one_by_one),
        ),
        Mistake(
            "Down, the windows are put back one pixel apart. The stride holds in both directions.",
            _put(start=_one_by_one, left=_multiple),
        ),
        Mistake(
            "What comes from several windows was averaged. Each way from a pixel to the loss adds its whole share.",
            _shared_out,
        ),
        Mistake(
            "The end of the slice is the image's height and width, which are counted from the edge of the border: the "
            "image begins `padding` further on, and so it ends.",
            _put(cut=lambda framed, padding, shape: framed[:, padding : shape[1], padding : shape[2]]),
        ),
        Mistake(
            "The windows are put into an image without a border, and the first ones begin before it. A negative index "
            "counts from the end. Put them into an image with its border, and cut that off afterwards.",
            _without_a_border,
        ),
        Mistake(
            "The numbers of a window were added up and put into one pixel. Each goes back to its own pixel.",
            _sums_of_windows,
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 15.5 dx as a convolution


def _input_gradient_inputs(generator):
    """dy (B, down, across, O), weight (k, k, I, O), padding: none, then "same", then as many inputs as outputs."""
    for images, down, across, k, inputs, outputs, padding in (
        (2, 3, 4, 3, 2, 5, 0), (1, 4, 5, 3, 2, 3, 1), (2, 3, 3, 2, 3, 3, 0), (1, 4, 4, 5, 2, 2, 1),
    ):  # fmt: skip
        yield (
            generator.normal(size=(images, down, across, outputs)),
            generator.normal(size=(k, k, inputs, outputs)),
            padding,
        )


def _input_gradient(dy, weight, padding):
    images, down, across, _ = dy.shape
    k, _, inputs, _ = weight.shape
    x = np.zeros((images, down - 1 + k - 2 * padding, across - 1 + k - 2 * padding, inputs))
    _, cache = ops.convolution_forward(x, weight, None, 1, padding)
    return ops.convolution_backward(dy, cache)[0]


def _convolved(kernel, border=lambda k, padding: k - 1 - padding):
    """The convolution of dy with another kernel, kernel(weight), or another border."""

    def answer(dy, weight, padding):
        return ops.convolution_forward(dy, kernel(weight), None, 1, border(len(weight), padding))[0]

    return answer


def _right_kernel(weight):
    return np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))


exercise(
    "15.5",
    "The input's gradient is a convolution",
    "my_input_gradient",
    reference=_input_gradient,
    cases=_input_gradient_inputs,
    returns="dx",
    mistakes=[
        Mistake(
            "The kernel is not turned. The pixel at the window's first place meets the window that begins at it; the "
            "one at its last place meets a window that began before it.",
            _convolved(lambda weight: weight.transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The kernel is turned over along its rows only. Turn both axes of the window.",
            _convolved(lambda weight: weight[::-1].transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The kernel is turned over along its columns only. Turn both axes of the window.",
            _convolved(lambda weight: weight[:, ::-1].transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The window's rows and columns have changed places. To turn a kernel is to read both axes from their end.",
            _convolved(lambda weight: _right_kernel(weight).transpose(1, 0, 2, 3)),
        ),
        Mistake(
            "The window's rows and columns have changed places. To turn a kernel is to read both axes from their end.",
            _convolved(lambda weight: weight.transpose(1, 0, 3, 2)),
        ),
        Mistake(
            "The kernel is turned by 90 degrees. It must be turned by 180.",
            _convolved(lambda weight: np.rot90(weight).transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The kernel is turned by 90 degrees. It must be turned by 180.",
            _convolved(lambda weight: np.rot90(weight, 3).transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "`.T` puts all four axes into the opposite order, and the window's come last. Only the last two change "
            "places; the first two stay and are read from their end.",
            _convolved(lambda weight: weight.T),
        ),
        Mistake(
            "`.T` puts all four axes into the opposite order, and the window's come last. Only the last two change "
            "places; the first two stay and are read from their end.",
            _convolved(lambda weight: weight[::-1, ::-1].T),
        ),
        Mistake(
            "Inputs and outputs are put right by a reshape: the right shape, the numbers in the wrong places. Exchange "
            "the last two axes.",
            _convolved(lambda weight: weight[::-1, ::-1].reshape(*weight.shape[:2], weight.shape[3], weight.shape[2])),
        ),
        Mistake(
            "The channels are turned over too. Only the window's two axes are read from their end.",
            _convolved(lambda weight: weight[::-1, ::-1, ::-1, ::-1].transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The channels are turned over in the place of the window. The window's axes are the first two.",
            _convolved(lambda weight: weight[:, :, ::-1, ::-1].transpose(0, 1, 3, 2)),
        ),
        Mistake(
            "The inputs and outputs of the kernel are not exchanged. Backward goes from the O channels of dy to the I "
            "channels of x.",
            lambda dy, weight, padding: _input_gradient(dy, weight.transpose(0, 1, 3, 2), padding),
        ),
        Mistake(
            "The border is that of the forward pass, so that dx has another size than x. How wide a border does dy "
            "need, so that a pixel in the corner meets the one window that is over it?",
            _convolved(_right_kernel, lambda k, padding: padding),
        ),
        Mistake(
            "The border is as wide as without padding. The gradients of the border's pixels are here too; each pixel "
            "of padding in forward takes one from the border of dy.",
            _convolved(_right_kernel, lambda k, padding: k - 1),
        ),
        Mistake(
            "The border is half as wide as the window, whatever padding the forward pass had. That is right for one "
            "padding only.",
            _convolved(_right_kernel, lambda k, padding: (k - 1) // 2),
        ),
        Mistake(
            "dy was turned in the place of the kernel, so that dx comes out turned. The kernel must be turned, and dy "
            "left as it is.",
            lambda dy, weight, padding: _convolved(lambda weight: weight.transpose(0, 1, 3, 2))(
                dy[:, ::-1, ::-1], weight, padding
            ),
        ),
        Mistake(
            "The border has the opposite sign: none can be negative. The more padding forward had, the less dy needs.",
            _convolved(_right_kernel, lambda k, padding: padding - k + 1),
        ),
        Mistake(
            "The border is one pixel too wide. Two windows that are neighbours share all but one column of pixels.",
            _convolved(_right_kernel, lambda k, padding: k - padding),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 15.6 the receptive field


def _receptive_field(layers):
    """From the last layer to the first: r pixels of its output need (r - 1) * stride + size pixels of its input."""
    field = 1
    for size, stride in reversed(layers):
        field = (field - 1) * stride + size
    return field


def _forward_field(layers, step=lambda field, size, stride, jump: field + (size - 1) * jump, first=1):
    field, jump = first, 1
    for size, stride in layers:
        field = step(field, size, stride, jump)
        jump *= stride
    return field


def _jump_too_early(layers):
    field, jump = 1, 1
    for size, stride in layers:
        jump *= stride
        field += (size - 1) * jump
    return field


def _jumps_added(layers):
    field, jump = 1, 1
    for size, stride in layers:
        field += (size - 1) * jump
        jump += stride - 1
    return field


def _own_stride_only(layers):
    return 1 + sum((size - 1) * stride for size, stride in layers)


exercise(
    "15.6",
    "The receptive field",
    "my_receptive_field",
    reference=_receptive_field,
    cases=lambda generator: (
        ([(3, 2), (5, 3), (2, 2), (3, 1)],),
        ([(3, 1)],),
        ([(3, 1), (3, 1), (3, 1)],),
        ([(7, 2), (3, 2), (3, 1), (3, 1)],),
        ([(4, 4), (1, 1), (3, 1)],),
        ([(1, 1)],),
    ),
    returns="pixels",
    mistakes=[
        Mistake(
            "The strides are left out. After a layer with stride 2, a step from one place to the next is two pixels of "
            "the image.",
            lambda layers: _forward_field(layers, lambda field, size, stride, jump: field + size - 1),
        ),
        Mistake(
            "A layer's own stride is counted in its own window. Its window lies on places that are still as far apart "
            "as the layers before it left them.",
            _jump_too_early,
        ),
        Mistake(
            "Each layer counts its own stride and not those of the layers before it. How far apart, in pixels of the "
            "image, are the places on which its window lies?",
            _own_stride_only,
        ),
        Mistake(
            "The distances of the layers are added. A stride of 2 after a stride of 2 makes four pixels of a step, and "
            "3 after 2 makes six.",
            _jumps_added,
        ),
        Mistake(
            "Each layer adds its whole window. One of its places was counted before: a window of size 1 sees nothing "
            "new.",
            lambda layers: _forward_field(layers, lambda field, size, stride, jump: field + size * jump),
        ),
        Mistake(
            "Each layer adds its whole window, and nothing is there at the start. One place is counted before the "
            "first layer, and each window shares one place with what was there.",
            lambda layers: _forward_field(layers, lambda field, size, stride, jump: field + size * jump, first=0),
        ),
        Mistake(
            "The count begins at 0. Before the first layer an output is one pixel of the image.",
            lambda layers: _forward_field(layers, first=0),
        ),
        Mistake(
            "The whole field is multiplied by the stride. A stride moves later windows further apart; what was there "
            "before stays.",
            lambda layers: reduce(lambda field, layer: (field + layer[0] - 1) * layer[1], layers, 1),
        ),
        Mistake(
            "Each layer adds half of its window. It reaches to both sides.",
            lambda layers: _forward_field(layers, lambda field, size, stride, jump: field + size // 2 * jump),
        ),
        Mistake(
            "The windows are multiplied. Windows of neighbouring places overlap in all but a stride.",
            lambda layers: _forward_field(layers, lambda field, size, stride, jump: field * size),
        ),
        Mistake(
            "The layers are taken in the wrong order. Counting the pixels that an output needs starts at the last "
            "layer; counting distances between places starts at the first.",
            lambda layers: _receptive_field(layers[::-1]),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 15.7 batch norm


def _batch_norm_inputs(generator):
    """dy (B, height, width, C) and the cache (x_hat, inv_std, scale)."""
    for shape in ((4, 2, 3, 5), (3, 3, 3, 3), (2, 1, 1, 2)):
        x = 1 + 2 * generator.normal(size=shape)
        scale, bias = generator.normal(size=(2, shape[-1]))
        _, cache = ops.batch_norm_forward(x, scale, bias)
        yield generator.normal(size=shape), (cache.x_hat, cache.inv_std, cache.scale)


def _whole(cache):
    x_hat, inv_std, scale = cache
    return BatchNormCache(x_hat, inv_std, scale, mean=inv_std, variance=inv_std)  # backward needs neither of the two


def _batch_norm_backward(dy, cache):
    return ops.batch_norm_backward(dy, _whole(cache))


def _dx(formula):
    """A mistake in dx: formula(dy, x_hat, inv_std, scale); the other two are right."""
    return lambda dy, cache: (formula(dy, *cache), *_batch_norm_backward(dy, cache)[1:])


def _three_terms(axis, scaled=True, mean=1.0, variance=1.0, kind=np.mean, inv=True):
    """dx with means over other axes, or with a term changed."""

    def formula(dy, x_hat, inv_std, scale):
        g = dy * scale if scaled else dy
        middle = mean * kind(g, axis=axis, keepdims=True)
        last = variance * x_hat * kind(g * x_hat, axis=axis, keepdims=True)
        return (inv_std if inv else 1.0) * (g - middle - last)

    return _dx(formula)


ROWS = (0, 1, 2)


def _by_sums(formula):
    """A mistake in dx, from sums: formula(dy, x_hat, dscale, dbias, n) is the bracket."""

    def dx(dy, x_hat, inv_std, scale):
        n = dy.size // dy.shape[-1]
        return scale * inv_std * formula(dy, x_hat, (dy * x_hat).sum(ROWS), dy.sum(ROWS), n)

    return _dx(dx)


def _sums_over_images(dy, cache):
    """dscale and dbias over the images alone, also where they are used in dx."""
    x_hat, inv_std, scale = cache
    n, dscale, dbias = dy.size // dy.shape[-1], (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    return scale * inv_std * (dy - dbias / n - x_hat * dscale / n), dscale, dbias


exercise(
    "15.7",
    "Batch norm, backward",
    "my_batch_norm_backward",
    reference=_batch_norm_backward,
    cases=_batch_norm_inputs,
    returns=("dx", "dscale", "dbias"),
    mistakes=[
        Mistake(
            "dx has the direct way only. The batch's mean and variance move with every x, too: that is true of kept "
            "statistics alone.",
            lambda dy, cache: faults.statistics_taken_for_constants(dy, _whole(cache)),
        ),
        Mistake(
            "The means in dx are LayerNorm's: over the channels. Batch norm has normalised each channel over the other "
            "three axes.",
            _three_terms(-1),
        ),
        Mistake(
            "The means in dx run over the images alone. A channel has been normalised over all its pixels as well.",
            _three_terms(0),
        ),
        Mistake(
            "The means in dx run over the pixels of each image. All images of the batch share one mean and one "
            "variance.",
            _three_terms((1, 2)),
        ),
        Mistake(
            "The means in dx run over the whole array. Each channel has a mean and a variance of its own.",
            _three_terms(None),
        ),
        Mistake(
            "The term of the variance in dx has a mean over the images alone. It runs over the whole channel, like the "
            "term of the mean.",
            _dx(
                lambda dy, x_hat, inv_std, scale: (
                    scale * inv_std * (dy - dy.mean(ROWS) - x_hat * (dy * x_hat).mean(axis=0))
                )
            ),
        ),
        Mistake("The term of the variance is missing in dx.", _three_terms(ROWS, variance=0.0)),
        Mistake("The term of the mean is missing in dx.", _three_terms(ROWS, mean=0.0)),
        Mistake("The term of the variance has the wrong sign in dx.", _three_terms(ROWS, variance=-1.0)),
        Mistake("The term of the mean has the wrong sign in dx.", _three_terms(ROWS, mean=-1.0)),
        Mistake("The bracket of dx has sums where means belong.", _three_terms(ROWS, kind=np.sum)),
        Mistake(
            "The sums in dx are divided by the number of images. A channel has B * height * width values.",
            _by_sums(lambda dy, x_hat, dscale, dbias, n: dy - dbias / len(dy) - x_hat * dscale / len(dy)),
        ),
        Mistake(
            "The sums in dx are divided by the size of the whole array. A channel has B * height * width values.",
            _by_sums(lambda dy, x_hat, dscale, dbias, n: dy - dbias / dy.size - x_hat * dscale / dy.size),
        ),
        Mistake(
            "dscale and dbias have changed places in dx: the mean's term has the sum of dy, the variance's that of "
            "dy * x_hat.",
            _by_sums(lambda dy, x_hat, dscale, dbias, n: dy - dscale / n - x_hat * dbias / n),
        ),
        Mistake(
            "dscale is the sum of dy alone, which belongs to dbias, also where it is used in dx. What is the scale "
            "multiplied by on its way to y?",
            _by_sums(lambda dy, x_hat, dscale, dbias, n: dy - dbias / n - x_hat * dbias / n),
        ),
        Mistake(
            "dscale and dbias sum over the images alone, and so do dx's terms. All pixels of a channel share them.",
            _sums_over_images,
        ),
        Mistake(
            "The terms in dx are divided by n - 1, where the variance of the forward pass was divided by n.",
            lambda dy, cache: faults.unbiased_variance_in_the_backward(dy, _whole(cache)),
        ),
        Mistake(
            "The scale is forgotten in dx: what reaches x_hat is not dy, but dy times what stands between x_hat and y.",
            _three_terms(ROWS, scaled=False),
        ),
        Mistake(
            "dx lacks the factor in front of the bracket, one over the standard deviation.",
            _three_terms(ROWS, inv=False),
        ),
        Mistake(
            "In dx the scale multiplies dy alone. It belongs to the whole bracket.",
            _dx(
                lambda dy, x_hat, inv_std, scale: (
                    inv_std * (scale * dy - dy.mean(ROWS) - x_hat * (dy * x_hat).mean(ROWS))
                )
            ),
        ),
        Mistake(
            "dscale and dbias sum over the images alone. All pixels of a channel share them, too.",
            lambda dy, cache: (_batch_norm_backward(dy, cache)[0], (dy * cache[0]).sum(axis=0), dy.sum(axis=0)),
        ),
        Mistake(
            "dscale and dbias have the scale as a factor. They add up what reaches y, dy itself; g = scale * dy is "
            "what goes on to x.",
            lambda dy, cache: tuple(
                one * factor
                for one, factor in zip(_batch_norm_backward(dy, cache), (1, cache[2], cache[2]), strict=True)
            ),
        ),
        Mistake(
            "dscale is the sum of dy alone, which belongs to dbias. What is the scale multiplied by on its way to y?",
            lambda dy, cache: (_batch_norm_backward(dy, cache)[0], dy.sum(axis=ROWS), dy.sum(axis=ROWS)),
        ),
        Mistake(
            "dscale and dbias are means. Every value of a channel adds its whole share: take the sum.",
            lambda dy, cache: (_batch_norm_backward(dy, cache)[0], (dy * cache[0]).mean(axis=ROWS), dy.mean(axis=ROWS)),
        ),
    ],
)
