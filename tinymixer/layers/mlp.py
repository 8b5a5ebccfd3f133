"""The two-layer perceptron of a Mixer, and its two uses: over channels and over tokens."""

from typing import Any, Self

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.initialisation import lecun_normal, local_tokens, zeros
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification

GELU_FORMS = ("tanh", "erf")


class Mlp(Layer):
    """Linear, GELU, (dropout,) Linear over the last axis: `ops/linear.py`, `ops/gelu.py`, `ops/dropout.py`.

    weight1 (I, D), bias1 (D,), weight2 (D, I), bias2 (I,), with I = in_features and D = mlp_dim.
    """

    linear = "linear"  # the operation of both Linears: ops.linear_forward and ops.linear_backward

    def __init__(
        self, in_features: int, mlp_dim: int, gelu: str = "tanh", dropout: float = 0.0, **keywords: Any
    ) -> None:
        if gelu not in GELU_FORMS:
            raise ConfigError(f"gelu must be 'tanh' or 'erf', got {gelu!r}")
        super().__init__(self.specification(in_features, mlp_dim), **keywords)
        self.dropout = dropout
        self._linear_forward = getattr(self.ops, f"{self.linear}_forward")
        self._linear_backward = getattr(self.ops, f"{self.linear}_backward")
        self._gelu_forward = getattr(self.ops, f"gelu_{gelu}_forward")
        self._gelu_backward = getattr(self.ops, f"gelu_{gelu}_backward")

    @staticmethod
    def specification(in_features: int, mlp_dim: int) -> Specification:
        return {
            "weight1": ParameterSpec((in_features, mlp_dim), lecun_normal(in_features)),
            "bias1": ParameterSpec((mlp_dim,), zeros),
            "weight2": ParameterSpec((mlp_dim, in_features), lecun_normal(mlp_dim)),
            "bias2": ParameterSpec((in_features,), zeros),
        }

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (..., I)  ->  y (..., I), cache"""
        activated, hidden_cache = self.hidden_forward(x)  # (..., D)
        y, output_cache = self.output_forward(activated, train, rng)  # (..., I)
        return y, (hidden_cache, output_cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., I)  ->  dx (..., I)"""
        hidden_cache, output_cache = cache
        return self.hidden_backward(self.output_backward(dy, output_cache), hidden_cache)

    def hidden_forward(self, x: Array) -> tuple[Array, Cache]:
        """The first half, x (..., I)  ->  gelu(x W1 + b1) (..., D), cache"""
        p = self.parameters
        hidden, cache1 = self._linear_forward(x, p["weight1"], p["bias1"])  # (..., D)
        activated, cache_gelu = self._gelu_forward(hidden)  # (..., D)
        return activated, (cache1, cache_gelu)

    def output_forward(self, activated: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """The second half, activated (..., D)  ->  y (..., I), cache"""
        p, cache_dropout = self.parameters, None
        if train and self.dropout:
            keep = self.keep_mask(activated.shape, self.dropout, rng, "dropout", activated.ndim - 2)  # (..., D)
            activated, cache_dropout = self.ops.dropout_forward(activated, keep, self.dropout)
        y, cache2 = self._linear_forward(activated, p["weight2"], p["bias2"])  # (..., I)
        return y, (cache_dropout, cache2)

    def output_backward(self, dy: Array, cache: Cache) -> Array:
        """dy (..., I)  ->  dactivated (..., D)"""
        cache_dropout, cache2 = cache
        dactivated, dweight2, dbias2 = self._linear_backward(dy, cache2)  # (..., D)
        self.parameters.gradient("weight2")[...] += dweight2
        self.parameters.gradient("bias2")[...] += dbias2
        return dactivated if cache_dropout is None else self.ops.dropout_backward(dactivated, cache_dropout)

    def hidden_backward(self, dactivated: Array, cache: Cache) -> Array:
        """dactivated (..., D)  ->  dx (..., I)"""
        cache1, cache_gelu = cache
        dhidden = self._gelu_backward(dactivated, cache_gelu)  # (..., D)
        dx, dweight1, dbias1 = self._linear_backward(dhidden, cache1)  # (..., I)
        self.parameters.gradient("weight1")[...] += dweight1
        self.parameters.gradient("bias1")[...] += dbias1
        return dx


class ChannelMixing(Mlp):
    """The MLP over the channels of each token, products from the right (Mixer, eq. 1, second line).

    x (S, B, C); weight1 (C, DC), bias1 (DC,), weight2 (DC, C), bias2 (C,)
    """

    def __init__(
        self, hidden_dim: int, channels_mlp_dim: int, gelu: str = "tanh", dropout: float = 0.0, **keywords: Any
    ) -> None:
        super().__init__(hidden_dim, channels_mlp_dim, gelu, dropout, **keywords)


class TokenMixing(Mlp):
    """The MLP over the tokens of each channel, products from the left (Mixer, eq. 1, first line).

    x (S, B, C); weight1 (DS, S), bias1 (DS,), weight2 (S, DS), bias2 (S,)

    Tokens are the first axis, so it is the same MLP with both products from the other side. The hidden layer is
    (DS, B, C).
    """

    linear = "token_linear"  # ops.token_linear_forward and ops.token_linear_backward

    def __init__(
        self, tokens: int, tokens_mlp_dim: int, gelu: str = "tanh", dropout: float = 0.0, **keywords: Any
    ) -> None:
        super().__init__(tokens, tokens_mlp_dim, gelu, dropout, **keywords)

    @staticmethod
    def specification(tokens: int, tokens_mlp_dim: int, local_on: tuple[int, int] | None = None) -> Specification:
        """local_on   the grid of patches on which the first weights are local; None draws them all alike"""
        first, second = lecun_normal(tokens), lecun_normal(tokens_mlp_dim)
        if local_on is not None:
            first = local_tokens(local_on, first, units_first=True)
            second = local_tokens(local_on, second, units_first=False)
        return {
            "weight1": ParameterSpec((tokens_mlp_dim, tokens), first),
            "bias1": ParameterSpec((tokens_mlp_dim,), zeros),
            "weight2": ParameterSpec((tokens, tokens_mlp_dim), second),
            "bias2": ParameterSpec((tokens,), zeros),
        }

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        """The specification for a block of these sizes, which every token mixer gives (`token_mixing.py`)."""
        local_on = sizes.grid if sizes.token_init == "local" else None
        return cls.specification(sizes.num_tokens, sizes.tokens_mlp_dim, local_on)

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(sizes.num_tokens, sizes.tokens_mlp_dim, sizes.gelu, sizes.dropout, **keywords)
