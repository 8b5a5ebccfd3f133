"""Mistakes in the operations of convolutional networks: windows, and normalisation of activations and weights."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.batch_norm import BatchNormCache


def _convolved(generator: np.random.Generator) -> tuple[Any, ...]:
    """As many outputs as inputs and square kernels, so that a wrong transpose keeps the shape; windows overlap."""
    return generator.normal(size=(2, 3, 3, 2)), generator.normal(size=(3, 3, 2, 2)), generator.normal(size=2), 1, 1


def _pooled(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(1, 5, 5, 1)), 3, 2


def _normalised(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(2, 2, 3, 2)), generator.normal(size=2), generator.normal(size=2)


def _grouped(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(2, 2, 3, 4)), generator.normal(size=4), generator.normal(size=4), 2


def _weights(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(3, 2, 2, 3)),)


def _weights_and_gain(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(3, 2, 2, 3)), generator.normal(size=3)


@fault("convolution", _convolved)
def kernel_not_turned(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx is the convolution of dy with the kernel as it is, where it must be turned by 180 degrees."""
    _, weight, _, windows = cache
    dx, _ = ops.convolution_forward(dy, weight.transpose(0, 1, 3, 2), None, 1, windows.padding)
    return dx, *ops.convolution_backward(dy, cache)[1:]


@fault("convolution", _convolved)
def inputs_and_outputs_of_the_kernel_exchanged(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dcolumns is multiplied with the kernel instead of its transpose; the sizes are equal and let it pass."""
    x, weight, has_bias, windows = cache
    exchanged = x, weight.transpose(0, 1, 3, 2).copy(), has_bias, windows
    return ops.convolution_backward(dy, exchanged)[0], *ops.convolution_backward(dy, cache)[1:]


@fault("convolution", _convolved)
def windows_overwrite_each_other(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """A pixel keeps the gradient of the last window over it, where the windows' gradients add up."""
    x, weight, _, windows = cache
    framed = np.zeros(windows.framed(x).shape)
    for place, (rows, columns) in enumerate(windows.places):
        framed[:, rows, columns] = dy @ weight.reshape(-1, *weight.shape[2:])[place].T
    border, (height, width) = windows.padding, windows.image
    dx = framed[:, border : border + height, border : border + width].astype(dy.dtype)
    return dx, *ops.convolution_backward(dy, cache)[1:]


@fault("convolution", _convolved)
def bias_of_one_image(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dbias sums over the pixels of the first image alone, where all images share the bias."""
    dx, dweight, _ = ops.convolution_backward(dy, cache)
    return dx, dweight, dy[0].sum(axis=(0, 1))


@fault("max_pooling", _pooled)
def mean_in_the_place_of_the_maximum(dy: Array, cache: Cache) -> Array:
    """dy is shared out over the whole window as for average pooling."""
    return ops.average_pooling_backward(dy, cache[1])


@fault("average_pooling", _pooled)
def window_not_divided(dy: Array, cache: Cache) -> Array:
    """Every pixel of a window receives the whole gradient: 1 / size^2 is missing."""
    return ops.average_pooling_backward(dy, cache) * cache.pixels


@fault("global_average_pooling", lambda generator: (generator.normal(size=(2, 3, 2, 3)),))
def divided_by_height_alone(dy: Array, cache: Cache) -> Array:
    """The gradient is divided by the rows of the image, where it must be by its pixels."""
    return ops.global_average_pooling_backward(dy, cache) * cache[2]


@fault("relu", lambda generator: (generator.normal(size=(3, 4)),))
def passes_where_the_output_gradient_is_positive(dy: Array, cache: Cache) -> Array:
    """The mask is taken of dy in the place of x."""
    return dy * (dy > 0)


@fault("batch_norm", _normalised)
def statistics_taken_for_constants(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """dx is that of kept statistics: what x does to the batch's mean and variance is left out."""
    return ops.batch_norm_inference_backward(dy, (cache.x_hat, cache.inv_std, cache.scale))


@fault("batch_norm", _normalised)
def unbiased_variance_in_the_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """The means of the backward divide by n - 1, as the running variance does; the forward divides by n."""
    n = dy.size // dy.shape[-1]
    dx, dscale, dbias = ops.batch_norm_backward(dy, cache)
    more = cache.scale * cache.inv_std * (dbias + cache.x_hat * dscale) * (1 / n - 1 / (n - 1))
    return (dx + more).astype(dy.dtype), dscale, dbias


@fault("group_norm", _grouped)
def means_over_all_channels(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The backward takes its means over all channels of an image, as with a single group."""
    x_hat, inv_std, scale = cache
    g = dy * scale
    inv_std = np.repeat(inv_std[:, :, :, 0], x_hat.shape[3] // inv_std.shape[2], axis=2)[:, None]  # (B, 1, 1, C)
    axes = (1, 2, 3)
    dx = inv_std * (g - g.mean(axes, keepdims=True) - x_hat * (g * x_hat).mean(axes, keepdims=True))
    return dx.astype(dy.dtype), *ops.group_norm_backward(dy, cache)[1:]


@fault("weight_standardisation", _weights)
def weight_mean_taken_for_a_constant(dy: Array, cache: Cache) -> Array:
    """The term of the mean is missing."""
    y, inv_std = cache
    return (inv_std * (dy - y * (dy * y).mean(axis=(0, 1, 2)))).astype(dy.dtype)


@fault("scaled_weight_standardisation", _weights_and_gain)
def fan_in_not_divided_in_the_gain(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """dgain lacks the division by the root of the fan-in."""
    dweight, dgain = ops.scaled_weight_standardisation_backward(dy, cache)
    return dweight, dgain * cache[3]
