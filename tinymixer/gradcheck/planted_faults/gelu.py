"""Mistakes in the derivative of GELU."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.gelu import DENSITY_AT_ZERO, TANH_CUBIC, TANH_SLOPE


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    return (2 * generator.normal(size=(3, 2, 5)),)


def _tanh_derivative(x: Array, t: Array, cubic: float = TANH_CUBIC, three: float = 3.0) -> Array:
    du_dx = TANH_SLOPE * (1.0 + three * cubic * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du_dx


@fault("gelu_tanh", _inputs)
def cubic_constant_rounded_in_the_backward(dy: Array, cache: Cache) -> Array:
    """The backward has 0.0447 where the forward has 0.044715."""
    x, t = cache
    return dy * _tanh_derivative(x, t, cubic=0.0447)


@fault("gelu_tanh", _inputs)
def derivative_of_the_erf_form(dy: Array, cache: Cache) -> Array:
    """The forward is the tanh form, the backward differentiates the exact one: they differ in the third digit."""
    x, _ = cache
    return ops.gelu_erf_backward(dy, ops.gelu_erf_forward(x)[1])


@fault("gelu_erf", _inputs)
def derivative_of_the_tanh_form(dy: Array, cache: Cache) -> Array:
    """The forward is the exact form, the backward differentiates the tanh one: they differ in the third digit."""
    x, _ = cache
    return ops.gelu_tanh_backward(dy, ops.gelu_tanh_forward(x)[1])


@fault("gelu_tanh", _inputs)
def product_rule_half_done(dy: Array, cache: Cache) -> Array:
    """Of the product rule's two terms only (1 + t) / 2 is there; x/2 dt/dx is missing."""
    _, t = cache
    return dy * 0.5 * (1.0 + t)


@fault("gelu_tanh", _inputs)
def exponent_not_brought_down(dy: Array, cache: Cache) -> Array:
    """The derivative of x^3 is taken as x^2: the factor 3 is missing."""
    x, t = cache
    return dy * _tanh_derivative(x, t, three=1.0)


@fault("gelu_tanh", _inputs)
def tanh_derivative_not_squared(dy: Array, cache: Cache) -> Array:
    """tanh' is taken as 1 - tanh instead of 1 - tanh^2."""
    x, t = cache
    du_dx = TANH_SLOPE * (1.0 + 3.0 * TANH_CUBIC * x * x)
    return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t) * du_dx)


@fault("gelu_erf", _inputs)
def density_without_its_half(dy: Array, cache: Cache) -> Array:
    """The normal density is taken as exp(-x^2) instead of exp(-x^2 / 2)."""
    x, probability = cache
    return dy * (probability + x * DENSITY_AT_ZERO * namespace(dy).exp(-x * x))


@fault("gelu_erf", _inputs)
def density_not_normalised(dy: Array, cache: Cache) -> Array:
    """The density lacks its factor 1 / sqrt(2 pi)."""
    x, probability = cache
    return dy * (probability + x * namespace(dy).exp(-0.5 * x * x))


@fault("gelu_tanh", _inputs)
def float64_from_a_constant(dy: Array, cache: Cache) -> Array:
    """The constant np.sqrt(2 / np.pi) is a NumPy float64 and turns float32 gradients into float64."""
    x, t = cache
    du_dx = np.sqrt(2 / np.pi) * (1.0 + 3.0 * TANH_CUBIC * x * x)
    return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du_dx)


@fault("gelu_tanh", _inputs)
def float32_on_the_way(dy: Array, cache: Cache) -> Array:
    """The backward computes in float32 and converts back: the last eight digits of a float64 gradient are noise."""
    x, t = cache
    return (dy.astype("float32") * _tanh_derivative(x.astype("float32"), t.astype("float32"))).astype(dy.dtype)
