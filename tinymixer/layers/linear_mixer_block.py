"""The block of the linear Mixer: token mixing and channel mixing in their simplest form."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.layer import Layer
from tinymixer.layers.linear import Linear
from tinymixer.layers.token_mixing import TokenLinear
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification, prefixed


class LinearMixerBlock(Layer):
    """One Linear over the tokens, then one over the channels, each added to its input.

        x = x + token_mixing(x)        weight (S, S), bias (S,)
        x = x + channel_mixing(x)      weight (C, C), bias (C,)

    Both Linears start at zero, so a block starts as the identity: without LayerNorm nothing else keeps activations from
    growing from block to block. With LeCun's initial values a branch is as large as x itself: eight blocks make the
    digits' activations 56 times as large, and plain gradient descent diverges (learning rates 0.01 to 0.1, three seeds
    each). From zero it trains at all of these rates. Zero weights do learn here: a weight's gradient is x times dy, and
    neither is zero.

    The operations are `token_linear` and `linear` in `ops/linear.py`.
    """

    def __init__(self, tokens: int, hidden_dim: int, **keywords: Any) -> None:
        super().__init__(self.specification(tokens, hidden_dim), **keywords)
        part = self.parameters.part
        self.token_mixing = TokenLinear(tokens, parameters=part("token_mixing"))
        self.channel_mixing = Linear(hidden_dim, hidden_dim, parameters=part("channel_mixing"))

    @staticmethod
    def specification(tokens: int, hidden_dim: int) -> Specification:
        return {
            **prefixed("token_mixing", TokenLinear.specification(tokens, initialise=zeros)),
            **prefixed("channel_mixing", Linear.specification(hidden_dim, hidden_dim, initialise=zeros)),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        mixed, token_cache = self.token_mixing.forward(x)  # (S, B, C)
        x = x + mixed
        mixed, channel_cache = self.channel_mixing.forward(x)  # (S, B, C)
        return x + mixed, (token_cache, channel_cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C). In each line dy reaches x twice: directly, and through the Linear."""
        token_cache, channel_cache = cache
        dx = dy + self.channel_mixing.backward(dy, channel_cache)
        return dx + self.token_mixing.backward(dx, token_cache)

    def update_buffers(self, cache: Cache) -> None:
        token_cache, channel_cache = cache
        self.token_mixing.update_buffers(token_cache)
        self.channel_mixing.update_buffers(channel_cache)
