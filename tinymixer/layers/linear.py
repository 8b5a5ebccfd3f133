"""The Linear layer."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import lecun_normal, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Initialise, ParameterSpec, Specification


class Linear(Layer):
    """y = x W + b over the last axis: weight (in_features, out_features), bias (out_features,). See `ops/linear.py`."""

    def __init__(
        self, in_features: int, out_features: int, *, initialise: Initialise | None = None, **keywords: Any
    ) -> None:
        super().__init__(self.specification(in_features, out_features, initialise), **keywords)

    @staticmethod
    def specification(in_features: int, out_features: int, initialise: Initialise | None = None) -> Specification:
        return {
            "weight": ParameterSpec((in_features, out_features), initialise or lecun_normal(in_features)),
            "bias": ParameterSpec((out_features,), zeros),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (..., in_features)  ->  y (..., out_features), cache"""
        return self.ops.linear_forward(x, self.parameters["weight"], self.parameters["bias"])

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., out_features)  ->  dx (..., in_features)"""
        dx, dweight, dbias = self.ops.linear_backward(dy, cache)
        self.parameters.gradient("weight")[...] += dweight
        self.parameters.gradient("bias")[...] += dbias
        return dx
