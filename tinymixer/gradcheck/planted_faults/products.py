"""Mistakes in products of two arrays: LayerScale and the gate."""

from typing import Any

import numpy as np

from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _scaled(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(4, 3, 5)), generator.normal(size=5)


def _gated(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(4, 3, 5)), generator.normal(size=(4, 3, 5))


@fault("layer_scale", _scaled)
def scale_forgotten_on_the_way_back(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The branch receives dy as if its output had not been scaled."""
    x, _ = cache
    return dy.copy(), (x * dy).sum(axis=(0, 1))


@fault("layer_scale", _scaled)
def scale_gradient_averaged(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The gradient of the scale is the mean over all rows instead of their sum."""
    x, scale = cache
    return dy * scale, (x * dy).mean(axis=(0, 1))


@fault("layer_scale", _scaled)
def scale_gradient_of_scaled_output(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The gradient of the scale is formed with the output y = scale * x instead of x."""
    x, scale = cache
    return dy * scale, (scale * x * dy).sum(axis=(0, 1))


@fault("gate", _gated)
def factors_not_exchanged(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Each factor's gradient is dy times itself, where it must be dy times the other factor."""
    x, gate = cache
    return dy * x, dy * gate


@fault("gate", _gated)
def gate_taken_for_a_constant(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The gate gets no gradient, as if it did not depend on the input."""
    _, gate = cache
    return dy * gate, np.zeros_like(gate)
