"""Multi-head self-attention as a layer, and what a transformer needs around its blocks: places and a class token."""

from typing import Any, Self

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.initialisation import lecun_normal, normal, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification

POSITION_STD = 0.02  # of the first position embeddings, as in the authors' code of ViT


class MultiHeadSelfAttention(Layer):
    """Queries, keys and values by one Linear, self-attention in heads, another Linear (ViT, eqs. 5 to 8).

        y = self_attention(x U_qkv) U_msa        x, y (S, B, C)

    weight_qkv (C, 3*C), bias_qkv (3*C,), weight_out (C, C), bias_out (C,); heads must divide C. See
    `ops/self_attention.py`. The weights say nothing of the number of tokens: it mixes as many as it is given.
    """

    def __init__(self, hidden_dim: int, heads: int = 1, **keywords: Any) -> None:
        require_heads(hidden_dim, heads)
        super().__init__(self.specification(hidden_dim), **keywords)
        self.heads = heads

    @staticmethod
    def specification(hidden_dim: int) -> Specification:
        return {
            "weight_qkv": ParameterSpec((hidden_dim, 3 * hidden_dim), lecun_normal(hidden_dim)),
            "bias_qkv": ParameterSpec((3 * hidden_dim,), zeros),
            "weight_out": ParameterSpec((hidden_dim, hidden_dim), lecun_normal(hidden_dim)),
            "bias_out": ParameterSpec((hidden_dim,), zeros),
        }

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        return cls.specification(sizes.hidden_dim)

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(sizes.hidden_dim, sizes.heads, **keywords)

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        ops, p = self.ops, self.parameters
        qkv, qkv_cache = ops.linear_forward(x, p["weight_qkv"], p["bias_qkv"])  # (S, B, 3C)
        mixed, attention_cache = ops.self_attention_forward(qkv, self.heads)  # (S, B, C)
        y, out_cache = ops.linear_forward(mixed, p["weight_out"], p["bias_out"])  # (S, B, C)
        return y, (qkv_cache, attention_cache, out_cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        qkv_cache, attention_cache, out_cache = cache
        ops, gradient = self.ops, self.parameters.gradient
        dmixed, dweight_out, dbias_out = ops.linear_backward(dy, out_cache)  # (S, B, C)
        dqkv = ops.self_attention_backward(dmixed, attention_cache)  # (S, B, 3C)
        dx, dweight_qkv, dbias_qkv = ops.linear_backward(dqkv, qkv_cache)  # (S, B, C)
        gradient("weight_qkv")[...] += dweight_qkv
        gradient("bias_qkv")[...] += dbias_qkv
        gradient("weight_out")[...] += dweight_out
        gradient("bias_out")[...] += dbias_out
        return dx


class PositionEmbedding(Layer):
    """Adds a learned vector to each token, by its place: embedding (S, C). See `ops/position_embedding.py`."""

    def __init__(self, tokens: int, channels: int, **keywords: Any) -> None:
        super().__init__(self.specification(tokens, channels), **keywords)

    @staticmethod
    def specification(tokens: int, channels: int) -> Specification:
        return {"embedding": ParameterSpec((tokens, channels), normal(POSITION_STD))}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        return self.ops.position_embedding_forward(x, self.parameters["embedding"])

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        dx, dembedding = self.ops.position_embedding_backward(dy, cache)
        self.parameters.gradient("embedding")[...] += dembedding
        return dx


class ClassToken(Layer):
    """Puts a learned token before the others: token (C,), zero at first. See `ops/class_token.py`."""

    def __init__(self, channels: int, **keywords: Any) -> None:
        super().__init__(self.specification(channels), **keywords)

    @staticmethod
    def specification(channels: int) -> Specification:
        return {"token": ParameterSpec((channels,), zeros)}

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S+1, B, C), cache"""
        return self.ops.prepend_class_token_forward(x, self.parameters["token"])

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S+1, B, C)  ->  dx (S, B, C)"""
        dx, dtoken = self.ops.prepend_class_token_backward(dy, cache)
        self.parameters.gradient("token")[...] += dtoken
        return dx


def require_heads(channels: int, heads: int, name: str = "hidden_dim") -> None:
    """Raise ConfigError unless the channels, which have that name, divide into that many heads."""
    if heads < 1 or channels % heads:
        fitting = [str(count) for count in range(1, min(channels, 32) + 1) if channels % count == 0]
        raise ConfigError(f"{heads} heads do not divide {name} {channels}: choose heads from {', '.join(fitting)}")
