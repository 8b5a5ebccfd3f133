"""Layers that normalise images: batch norm with its running statistics, and group norm."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import ones, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.batch_norm import BatchNormCache
from tinymixer.parameters import BufferSpec, ParameterSpec, Specification


class BatchNorm(Layer):
    """Normalise each channel over the batch: scale, bias (C,), buffers mean, variance (C,). See `ops/batch_norm.py`.

    In training the batch's own statistics are used, and leave in the cache. Once per step `update_buffers` adds them to
    the running ones, which are used everywhere else:

        mean = (1 - momentum) * mean + momentum * mean of the batch        and so for the variance, the unbiased one

    A step therefore has to take its batch whole: parts would be normalised by statistics of their own. Where scale and
    bias are frozen, the running statistics are used in training, too, and stay what they are (`keep_constant`).
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5, **keywords: Any) -> None:
        super().__init__(self.specification(channels), **keywords)
        self.momentum, self.eps = momentum, eps

    @staticmethod
    def specification(channels: int, momentum: float = 0.1, eps: float = 1e-5) -> Specification:
        return {
            "scale": ParameterSpec((channels,), ones),
            "bias": ParameterSpec((channels,), zeros),
            "mean": BufferSpec((channels,), zeros),
            "variance": BufferSpec((channels,), ones),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (..., C)  ->  y (..., C), cache"""
        p = self.parameters
        if train and not p.buffers_are_constant:
            return self.ops.batch_norm_forward(x, p["scale"], p["bias"], self.eps)
        mean, variance = p.buffer("mean"), p.buffer("variance")
        return self.ops.batch_norm_inference_forward(x, p["scale"], p["bias"], mean, variance, self.eps)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., C)  ->  dx (..., C)"""
        whole = isinstance(cache, BatchNormCache)
        backward = self.ops.batch_norm_backward if whole else self.ops.batch_norm_inference_backward
        dx, dscale, dbias = backward(dy, cache)
        self.parameters.gradient("scale")[...] += dscale
        self.parameters.gradient("bias")[...] += dbias
        return dx

    def update_buffers(self, cache: Cache) -> None:
        if isinstance(cache, BatchNormCache):  # of a forward pass in training
            for name, found in (("mean", cache.mean), ("variance", cache.variance)):
                running = self.parameters.buffer(name)
                running += self.momentum * (found - running)


class GroupNorm(Layer):
    """Normalise groups of channels of each image: scale (C,), bias (C,). See `ops/group_norm.py`."""

    def __init__(self, channels: int, groups: int, eps: float = 1e-5, **keywords: Any) -> None:
        super().__init__(self.specification(channels, groups), **keywords)
        self.groups, self.eps = groups, eps

    @staticmethod
    def specification(channels: int, groups: int, eps: float = 1e-5) -> Specification:
        return {"scale": ParameterSpec((channels,), ones), "bias": ParameterSpec((channels,), zeros)}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, C)  ->  y (B, height, width, C), cache"""
        return self.ops.group_norm_forward(x, self.parameters["scale"], self.parameters["bias"], self.groups, self.eps)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, height, width, C)  ->  dx (B, height, width, C)"""
        dx, dscale, dbias = self.ops.group_norm_backward(dy, cache)
        self.parameters.gradient("scale")[...] += dscale
        self.parameters.gradient("bias")[...] += dbias
        return dx
