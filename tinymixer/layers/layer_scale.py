"""The LayerScale layer."""

from typing import Any

import numpy as np

from tinymixer.draws import Draws
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification


class LayerScale(Layer):
    """One learned number for each channel: scale (C,), which starts at `value`. See `ops/layer_scale.py`."""

    def __init__(self, hidden_dim: int, value: float, **keywords: Any) -> None:
        super().__init__(self.specification(hidden_dim, value), **keywords)

    @staticmethod
    def specification(hidden_dim: int, value: float) -> Specification:
        return {"scale": ParameterSpec((hidden_dim,), lambda generator, shape: np.full(shape, value))}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (..., C)  ->  y (..., C), cache"""
        return self.ops.layer_scale_forward(x, self.parameters["scale"])

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., C)  ->  dx (..., C)"""
        dx, dscale = self.ops.layer_scale_backward(dy, cache)
        self.parameters.gradient("scale")[...] += dscale
        return dx
