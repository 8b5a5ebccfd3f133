"""Mistakes in how a block combines its two branches. The block is the linear Mixer's: x = x + f(x), twice."""

from typing import Any

import numpy as np

from tinymixer.gradcheck.planted_faults.registry import layer_fault
from tinymixer.layers import LinearMixerBlock
from tinymixer.ops.array_library import Array, Cache


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(4, 2, 3)),)


class _Block(LinearMixerBlock):
    """A block of 4 tokens and 3 channels in float64."""

    def __init__(self) -> None:
        super().__init__(4, 3, dtype="float64")


@layer_fault(_inputs)
class StraightWayForgotten(_Block):
    """The residual stream around channel mixing is forgotten: only the gradient through channel mixing counts."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        token_cache, channel_cache = cache
        dx = self.channel_mixing.backward(dy, channel_cache)
        return dx + self.token_mixing.backward(dx, token_cache)


@layer_fault(_inputs)
class BothBranchesGivenTheSameGradient(_Block):
    """Token mixing receives dy itself, as if the channel mixing after it were not there."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        token_cache, channel_cache = cache
        dx = dy + self.channel_mixing.backward(dy, channel_cache)
        return dx + self.token_mixing.backward(dy, token_cache)


@layer_fault(_inputs)
class BranchesInTheOrderOfTheForward(_Block):
    """The backward goes through token mixing first. It must go through channel mixing first, which came last."""

    def backward(self, dy: Array, cache: Cache) -> Array:
        token_cache, channel_cache = cache
        dx = dy + self.token_mixing.backward(dy, token_cache)
        return dx + self.channel_mixing.backward(dx, channel_cache)
