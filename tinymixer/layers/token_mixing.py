"""The token mixers that a block can use, by name.

A token mixer is a layer from x (S, B, C) to y (S, B, C) with two class methods that make it for a block's sizes:

    specification_for(sizes)        its parameters
    for_block(sizes, **keywords)    the layer itself

`TokenMixing`, the Mixer's own, stands in `mlp.py` beside channel mixing, which is the same MLP, and the transformer's,
`MultiHeadSelfAttention`, in `attention.py`. To add another, write
such a layer and put it into TOKEN_MIXERS (or hand the class to `MixerBlock`); the block stays as it is.
"""

from typing import Any, Protocol, Self

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, nearest
from tinymixer.layers.attention import MultiHeadSelfAttention
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.initialisation import lecun_normal, zeros
from tinymixer.layers.layer import Layer
from tinymixer.layers.mlp import TokenMixing
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Initialise, Parameters, ParameterSpec, Specification


class TokenMixer(Protocol):
    """A class of layers that can mix the tokens of a block."""

    def specification_for(self, sizes: BlockSizes) -> Specification: ...

    def for_block(self, sizes: BlockSizes, *, parameters: Parameters) -> Layer: ...


class TokenLinear(Layer):
    """One Linear over the tokens of each channel: the simplest token mixing that learns.

    x (S, B, C); weight (O, S), bias (O,)  ->  y (O, B, C), with O = S in a block.
    See `token_linear` in `ops/linear.py`.
    """

    def __init__(
        self, tokens: int, out_tokens: int | None = None, *, initialise: Initialise | None = None, **keywords: Any
    ) -> None:
        super().__init__(self.specification(tokens, out_tokens, initialise), **keywords)

    @staticmethod
    def specification(
        tokens: int, out_tokens: int | None = None, initialise: Initialise | None = None
    ) -> Specification:
        out_tokens = tokens if out_tokens is None else out_tokens
        return {
            "weight": ParameterSpec((out_tokens, tokens), initialise or lecun_normal(tokens)),
            "bias": ParameterSpec((out_tokens,), zeros),
        }

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        return cls.specification(sizes.num_tokens)

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(sizes.num_tokens, **keywords)

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (O, B, C), cache"""
        return self.ops.token_linear_forward(x, self.parameters["weight"], self.parameters["bias"])

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (O, B, C)  ->  dx (S, B, C)"""
        dx, dweight, dbias = self.ops.token_linear_backward(dy, cache)
        self.parameters.gradient("weight")[...] += dweight
        self.parameters.gradient("bias")[...] += dbias
        return dx


class TokenPooling(Layer):
    """The mean of the 3 x 3 patches around each patch, minus the patch: token mixing without parameters.

    x (S, B, C)  ->  y (S, B, C). grid: patches (down, across), S = down * across. See `ops/pool_tokens.py`. From
    PoolFormer (Yu et al. 2022, arXiv 2111.11418), which shows that so simple a token mixing still does well.
    """

    def __init__(self, grid: tuple[int, int], **keywords: Any) -> None:
        super().__init__({}, **keywords)
        self.grid = grid

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        return {}

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(sizes.grid, **keywords)

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        return self.ops.pool_tokens_forward(x, self.grid)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        return self.ops.pool_tokens_backward(dy, cache)


# "none": the block has no token branch, and so no LayerNorm before it, whose weights would have no effect.
TOKEN_MIXERS: dict[str, TokenMixer | None] = {
    "mlp": TokenMixing,
    "linear": TokenLinear,
    "pool": TokenPooling,
    "attention": MultiHeadSelfAttention,
    "none": None,
}


def token_mixer_of(choice: str | TokenMixer | None) -> TokenMixer | None:
    """The token mixer of that name, None for "none"; a class that is passed in comes back unchanged.

    Raises ConfigError for an unknown name.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in TOKEN_MIXERS:
        raise ConfigError(
            f"unknown token mixer '{choice}': expected one of {', '.join(TOKEN_MIXERS)}.{nearest(choice, TOKEN_MIXERS)}"
        )
    return TOKEN_MIXERS[choice]
