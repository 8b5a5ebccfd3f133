"""Mistakes that only a layer can make: with its parameters, their gradients, and attributes of self."""

from typing import Any

import numpy as np

from tinymixer.gradcheck.planted_faults.registry import layer_fault
from tinymixer.layers import Linear
from tinymixer.ops import linear_backward
from tinymixer.ops.array_library import Array, Cache


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(3, 2, 4)),)


class _Linear(Linear):
    """A Linear layer of 4 inputs and 5 outputs in float64."""

    def __init__(self) -> None:
        super().__init__(4, 5, dtype="float64")


@layer_fault(_inputs)
class GradientOverwritten(_Linear):
    """The weight's gradient is assigned instead of added: of two micro-batches only the last counts."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        dx, dweight, dbias = linear_backward(dy, cache)
        self.parameters.gradient("weight")[...] = dweight
        self.parameters.gradient("bias")[...] += dbias
        return dx


@layer_fault(_inputs)
class GradientAddedTwice(_Linear):
    """The bias's gradient is added twice, once by hand and once by the layer below."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        dx = super().backward(dy, cache)
        self.parameters.gradient("bias")[...] += dy.sum(axis=(0, 1))
        return dx


@layer_fault(_inputs)
class GradientForgotten(_Linear):
    """The bias's gradient is never written: it stays 0, and the bias is not trained."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        dx, dweight, _ = linear_backward(dy, cache)
        self.parameters.gradient("weight")[...] += dweight
        return dx


@layer_fault(_inputs)
class CacheKeptOnSelf(_Linear):
    """The forward keeps its cache on self, where the next forward replaces it."""

    def forward(self, x: Array, train: bool = False, rng: Any = None) -> tuple[Array, Cache]:
        y, self.cache = super().forward(x, train, rng)
        return y, None

    def backward(self, dy: Array, cache: Cache) -> Array:
        return super().backward(dy, self.cache)


@layer_fault(_inputs)
class WeightsUpdatedInTheBackward(_Linear):
    """The backward takes a step of gradient descent: the layer trains itself, without the optimizer."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        dx = super().backward(dy, cache)
        self.parameters.values[...] -= 1e-3 * self.parameters.gradients
        return dx


@layer_fault(_inputs)
class PaddingWrittenTo(_Linear):
    """A constant is added to the whole flat vector of gradients, the padding between the tensors included."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        dx = super().backward(dy, cache)
        self.parameters.gradients[...] += 1e-12
        return dx
