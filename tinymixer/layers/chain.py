"""Layers one after the other, and the sum of two ways: what networks of equal parts are written with."""

from collections.abc import Mapping
from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification, prefixed


class Part:
    """A layer to be built later: `Part(Convolution, 3, 64, size=7, stride=2)`. A model's figure is made of these."""

    def __init__(self, kind: Any, *arguments: Any, **options: Any) -> None:
        self.kind, self.arguments, self.options = kind, arguments, options

    def specification(self) -> Specification:
        """The names, shapes and initial values of the layer's parameters and buffers."""
        made: Specification = self.kind.specification(*self.arguments, **self.options)
        return made

    def build(self, **keywords: Any) -> Layer:
        """The layer, with the keywords of `Layer`."""
        made: Layer = self.kind(*self.arguments, **self.options, **keywords)
        return made


Parts = Mapping[str, Part]  # name -> layer, in the order of the forward pass


class Chain(Layer):
    """y = f_n(... f_2(f_1(x))): each layer works on what the one before it returns.

    parts   name -> `Part`; a layer's parameters are named "<its name>.<parameter>"
    """

    def __init__(self, parts: Parts, **keywords: Any) -> None:
        super().__init__(self.specification(parts), **keywords)
        part = self.parameters.part
        self.layers = [each.build(parameters=part(name, may_be_empty=True)) for name, each in parts.items()]

    @staticmethod
    def specification(parts: Parts) -> Specification:
        return {
            name: spec
            for prefix, part in parts.items()
            for name, spec in prefixed(prefix, part.specification()).items()
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(x, train, rng)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: Cache) -> Array:
        for layer, layer_cache in zip(reversed(self.layers), reversed(cache), strict=True):
            dy = layer.backward(dy, layer_cache)
        return dy

    def update_buffers(self, cache: Cache) -> None:
        for layer, layer_cache in zip(self.layers, cache, strict=True):
            layer.update_buffers(layer_cache)


class Residual(Layer):
    """y = shortcut(x) + weight * branch(x)  (He et al. 2016, arXiv 1512.03385, eq. 1 and 2).

    branch     the parts of F
    shortcut   the parts of the other way, such as a projection; empty for x itself
    weight     of the branch
    """

    def __init__(self, branch: Parts, shortcut: Parts, weight: float = 1.0, **keywords: Any) -> None:
        super().__init__(self.specification(branch, shortcut, weight), **keywords)
        part = self.parameters.part
        self.branch = Chain(branch, parameters=part("branch", may_be_empty=True))
        self.shortcut = Chain(shortcut, parameters=part("shortcut", may_be_empty=True))
        self.weight = weight

    @staticmethod
    def specification(branch: Parts, shortcut: Parts, weight: float = 1.0) -> Specification:
        return {
            **prefixed("branch", Chain.specification(branch)),
            **prefixed("shortcut", Chain.specification(shortcut)),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (B, height, width, I)  ->  y (B, down, across, O), cache"""
        branch, branch_cache = self.branch.forward(x, train, rng)  # (B, down, across, O)
        shortcut, shortcut_cache = self.shortcut.forward(x, train, rng)  # (B, down, across, O)
        return shortcut + self._weighted(branch), (branch_cache, shortcut_cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (B, down, across, O)  ->  dx (B, height, width, I): the sum over both ways"""
        branch_cache, shortcut_cache = cache
        return self.shortcut.backward(dy, shortcut_cache) + self.branch.backward(self._weighted(dy), branch_cache)

    def _weighted(self, x: Array) -> Array:
        return x if self.weight == 1 else self.weight * x

    def update_buffers(self, cache: Cache) -> None:
        branch_cache, shortcut_cache = cache
        self.branch.update_buffers(branch_cache)
        self.shortcut.update_buffers(shortcut_cache)
