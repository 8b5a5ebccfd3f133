"""Layers of convolutions: plain, and with weights that are standardised first."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import he_normal, ones, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification


class Convolution(Layer):
    """The same kernel over every window, without bias: weight (size, size, I, O). See `ops/convolution.py`.

    size      of the windows, in pixels; stride between them; padding around the image, (size - 1) / 2 where none is
              given, which for odd sizes keeps height and width at stride 1
    """

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int | None = None, **keywords: Any
    ) -> None:
        super().__init__(self.specification(inputs, outputs, size), **keywords)
        self.stride, self.padding = stride, (size - 1) // 2 if padding is None else padding

    @staticmethod
    def specification(
        inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int | None = None
    ) -> Specification:
        return {"weight": ParameterSpec((size, size, inputs, outputs), he_normal(size * size * inputs))}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, I)  ->  y (B, down, across, O), cache"""
        return self.ops.convolution_forward(x, self.parameters["weight"], None, self.stride, self.padding)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, O)  ->  dx (B, height, width, I)"""
        dx, dweight = self.ops.convolution_backward(dy, cache)
        self.parameters.gradient("weight")[...] += dweight
        return dx


class StandardisedConvolution(Convolution):
    """A convolution with standardised weights (Qiao et al. 2019). See `ops/weight_standardisation.py`."""

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, I)  ->  y (B, down, across, O), cache"""
        weight, weight_cache = self.ops.weight_standardisation_forward(self.parameters["weight"])
        y, cache = self.ops.convolution_forward(x, weight, None, self.stride, self.padding)
        return y, (weight_cache, cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, O)  ->  dx (B, height, width, I)"""
        weight_cache, cache = cache
        dx, dweight = self.ops.convolution_backward(dy, cache)
        self.parameters.gradient("weight")[...] += self.ops.weight_standardisation_backward(dweight, weight_cache)
        return dx


class ScaledStandardisedConvolution(Convolution):
    """A convolution with scaled standardised weights, a gain and a bias: weight (size, size, I, O), gain and bias (O,).

    Brock et al. 2021a, eq. 1 (`ops/weight_standardisation.py`). The gain starts at 1, the bias at 0.
    """

    @staticmethod
    def specification(
        inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int | None = None
    ) -> Specification:
        return {
            **Convolution.specification(inputs, outputs, size),
            "gain": ParameterSpec((outputs,), ones),
            "bias": ParameterSpec((outputs,), zeros),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, I)  ->  y (B, down, across, O), cache"""
        p = self.parameters
        weight, weight_cache = self.ops.scaled_weight_standardisation_forward(p["weight"], p["gain"])
        y, cache = self.ops.convolution_forward(x, weight, p["bias"], self.stride, self.padding)
        return y, (weight_cache, cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, O)  ->  dx (B, height, width, I)"""
        weight_cache, cache = cache
        dx, dweight, dbias = self.ops.convolution_backward(dy, cache)
        dweight, dgain = self.ops.scaled_weight_standardisation_backward(dweight, weight_cache)
        self.parameters.gradient("weight")[...] += dweight
        self.parameters.gradient("gain")[...] += dgain
        self.parameters.gradient("bias")[...] += dbias
        return dx
