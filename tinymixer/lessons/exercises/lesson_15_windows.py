"""Exercises of lesson 15: the windows of an image, taken out and added back."""

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.ops.sliding import Windows

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
