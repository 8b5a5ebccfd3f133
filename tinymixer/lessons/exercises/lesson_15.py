"""Exercises of lesson 15: convolutions as matrices, how far they see, and batch norm."""

from functools import reduce

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import convolutions as faults
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.ops.batch_norm import BatchNormCache

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
