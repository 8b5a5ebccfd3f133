"""Exercises of lesson 15: the gradients of a convolution."""

import math

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import Mistake, exercise

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
