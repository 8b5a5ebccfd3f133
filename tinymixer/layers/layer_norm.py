"""The LayerNorm layer."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import ones, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification


class LayerNorm(Layer):
    """Normalise over the channels, then scale and shift: scale (C,), bias (C,). See `ops/layer_norm.py`."""

    def __init__(self, hidden_dim: int, eps: float = 1e-6, **keywords: Any) -> None:
        super().__init__(self.specification(hidden_dim), **keywords)
        self.eps = eps

    @staticmethod
    def specification(hidden_dim: int) -> Specification:
        return {"scale": ParameterSpec((hidden_dim,), ones), "bias": ParameterSpec((hidden_dim,), zeros)}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (..., C)  ->  y (..., C), cache"""
        return self.ops.layer_norm_forward(x, self.parameters["scale"], self.parameters["bias"], self.eps)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., C)  ->  dx (..., C)"""
        dx, dscale, dbias = self.ops.layer_norm_backward(dy, cache)
        self.parameters.gradient("scale")[...] += dscale
        self.parameters.gradient("bias")[...] += dbias
        return dx
