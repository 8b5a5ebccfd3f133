"""Mistakes in the backward pass of LayerNorm, the most often mistaken formula of a Mixer."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache, namespace

EPS = 1e-6


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(3, 2, 5)), generator.normal(size=5), generator.normal(size=5)


def _small_inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    """Rows whose deviation is that of sqrt(eps), where it matters how eps enters."""
    return 1e-3 * generator.normal(size=(3, 2, 5)), generator.normal(size=5), generator.normal(size=5), EPS


def _row_mean(values: Array) -> Array:
    return namespace(values).mean(values, axis=-1, keepdims=True)


def _with_dx(dy: Array, cache: Cache, dx: Array) -> tuple[Array, ...]:
    """The right dscale and dbias beside another dx."""
    return dx, *ops.layer_norm_backward(dy, cache)[1:]


@fault("layer_norm", _inputs)
def variance_term_missing(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx lacks its third term, x_hat * mean(g * x_hat), which comes from the variance. With dy all ones it is 0."""
    _, inv_std, scale = cache
    g = dy * scale
    return _with_dx(dy, cache, inv_std * (g - _row_mean(g)))


@fault("layer_norm", _inputs)
def mean_term_missing(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx lacks its second term, mean(g): every x of the row moves the mean that is subtracted from all."""
    x_hat, inv_std, scale = cache
    g = dy * scale
    return _with_dx(dy, cache, inv_std * (g - x_hat * _row_mean(g * x_hat)))


@fault("layer_norm", _inputs)
def scale_forgotten_in_dx(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """g is taken as dy: the scale between x_hat and y is forgotten, which a fresh scale of ones hides."""
    x_hat, inv_std, _ = cache
    return _with_dx(dy, cache, inv_std * (dy - _row_mean(dy) - x_hat * _row_mean(dy * x_hat)))


@fault("layer_norm", _inputs)
def means_over_the_wrong_axis(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The two means run over the rows instead of the channels."""
    x_hat, inv_std, scale = cache
    g = dy * scale
    mean, mean_x_hat = g.mean(axis=0, keepdims=True), (g * x_hat).mean(axis=0, keepdims=True)
    return _with_dx(dy, cache, inv_std * (g - mean - x_hat * mean_x_hat))


@fault("layer_norm", _inputs)
def not_divided_by_the_deviation(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx lacks the factor 1 / sqrt(var + eps)."""
    x_hat, _, scale = cache
    g = dy * scale
    return _with_dx(dy, cache, g - _row_mean(g) - x_hat * _row_mean(g * x_hat))


@fault("layer_norm", _inputs)
def variance_over_one_less(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The term of the variance is divided by C - 1, while the forward divides the variance by C."""
    x_hat, inv_std, scale = cache
    g = dy * scale
    channels = dy.shape[-1]
    third = x_hat * _row_mean(g * x_hat) * channels / (channels - 1)
    return _with_dx(dy, cache, inv_std * (g - _row_mean(g) - third))


@fault("layer_norm", _small_inputs)
def eps_outside_the_root(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The backward divides by sqrt(var) + eps, the forward by sqrt(var + eps)."""
    x_hat, inv_std, scale = cache
    xp = namespace(dy)
    wrong = 1.0 / (xp.sqrt(1.0 / inv_std**2 - EPS) + EPS)
    g = dy * scale
    return _with_dx(dy, cache, wrong * (g - _row_mean(g) - x_hat * _row_mean(g * x_hat)))


@fault("layer_norm", _inputs)
def scale_gradient_without_x_hat(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dscale is the sum of dy, which is dbias. The scale multiplies x_hat, so that it is the sum of dy * x_hat."""
    dx, _, dbias = ops.layer_norm_backward(dy, cache)
    return dx, dbias.copy(), dbias


@fault("layer_norm", _inputs)
def scale_and_bias_gradients_swapped(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dbias comes back where dscale is expected, and the other way round."""
    dx, dscale, dbias = ops.layer_norm_backward(dy, cache)
    return dx, dbias, dscale
