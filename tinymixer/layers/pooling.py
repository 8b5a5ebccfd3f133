"""Layers without parameters: ReLU and the poolings."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification


class Relu(Layer):
    """y = factor * max(x, 0). See `ops/relu.py`.

    factor   1, or what keeps the variance in networks without norm (Brock et al. 2021a, section 4)
    """

    def __init__(self, factor: float = 1.0, **keywords: Any) -> None:
        super().__init__(self.specification(factor), **keywords)
        self.factor = factor

    @staticmethod
    def specification(factor: float = 1.0) -> Specification:
        return {}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (...)  ->  y (...), cache"""
        y, cache = self.ops.relu_forward(x)
        return (y if self.factor == 1 else self.factor * y), cache

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (...)  ->  dx (...)"""
        return self.ops.relu_backward(dy if self.factor == 1 else self.factor * dy, cache)


class MaxPooling(Layer):
    """The largest value of each window of size x size pixels. See `ops/max_pooling.py`."""

    def __init__(self, size: int, stride: int, padding: int = 0, **keywords: Any) -> None:
        super().__init__(self.specification(size, stride, padding), **keywords)
        self.size, self.stride, self.padding = size, stride, padding

    @staticmethod
    def specification(size: int, stride: int, padding: int = 0) -> Specification:
        return {}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, C)  ->  y (B, down, across, C), cache"""
        return self.ops.max_pooling_forward(x, self.size, self.stride, self.padding)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, C)  ->  dx (B, height, width, C)"""
        return self.ops.max_pooling_backward(dy, cache)


class AveragePooling(Layer):
    """The mean of each window of size x size pixels, side by side. See `ops/average_pooling.py`."""

    def __init__(self, size: int, **keywords: Any) -> None:
        super().__init__(self.specification(size), **keywords)
        self.size = size

    @staticmethod
    def specification(size: int) -> Specification:
        return {}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, C)  ->  y (B, height / size, width / size, C), cache"""
        return self.ops.average_pooling_forward(x, self.size, self.size)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, C)  ->  dx (B, height, width, C)"""
        return self.ops.average_pooling_backward(dy, cache)


class OverhangingAveragePooling(AveragePooling):
    """As AveragePooling; where size does not divide the image, the last windows hang over its lower and right border.

    Their means are over the pixels that they have, and the image comes out of size / size, rounded up.
    """

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, C)  ->  y (B, height / size, width / size, C), rounded up, and cache"""
        return self.ops.average_pooling_forward(x, self.size, self.size, overhang=True)


class GlobalAveragePooling(Layer):
    """The mean of each channel over the image. See `ops/average_pooling.py`."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__({}, **keywords)

    @staticmethod
    def specification() -> Specification:
        return {}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, C)  ->  y (B, C), cache"""
        return self.ops.global_average_pooling_forward(x)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, C)  ->  dx (B, height, width, C)"""
        return self.ops.global_average_pooling_backward(dy, cache)
