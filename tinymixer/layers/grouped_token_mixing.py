"""Token mixing whose MLP sees several channels at once."""

from typing import Any, Self

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.mlp import TokenMixing
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification


class GroupedTokenMixing(TokenMixing):
    """Token mixing on vectors of G neighbouring channels (Mixer, appendix A, "Grouping the channels together").

    x (S, B, C); weight1 (DS, S*G), bias1 (DS,), weight2 (S*G, DS), bias2 (S*G,), with G = grouped_channels

    A Mixer's token-mixing MLP sees the S values of one channel and is applied to C channels. Here the columns of G
    neighbouring channels are concatenated, so that it sees S*G values and is applied to C / G such vectors:

        (S, B, C)  ->  (S*G, B, C / G)  ->  TokenMixing  ->  (S*G, B, C / G)  ->  (S, B, C)

    The products cost the same for every G, and the two weights have G times as many numbers. With G = 1 it is
    `TokenMixing`. Concatenating only moves values to other places, so its backward moves them back, and the other way
    round. Raises ShapeError for an x with other tokens, or with channels that are not a multiple of G.
    """

    def __init__(
        self,
        tokens: int,
        tokens_mlp_dim: int,
        grouped_channels: int,
        gelu: str = "tanh",
        dropout: float = 0.0,
        **keywords: Any,
    ) -> None:
        super().__init__(tokens * grouped_channels, tokens_mlp_dim, gelu, dropout, **keywords)
        self.tokens = tokens
        self.grouped_channels = grouped_channels

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        """The specification for a block of these sizes. Raises ConfigError unless G divides the channels."""
        if sizes.hidden_dim % sizes.grouped_channels:
            raise ConfigError(
                f"grouped_channels {sizes.grouped_channels} does not divide hidden_dim {sizes.hidden_dim}"
            )
        local_on = sizes.grid if sizes.token_init == "local" else None
        return cls.specification(sizes.num_tokens * sizes.grouped_channels, sizes.tokens_mlp_dim, local_on)

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(
            sizes.num_tokens, sizes.tokens_mlp_dim, sizes.grouped_channels, sizes.gelu, sizes.dropout, **keywords
        )

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        if x.ndim != 3 or x.shape[0] != self.tokens or x.shape[2] % self.grouped_channels:
            raise ShapeError(
                f"grouped token mixing expects x (S, B, C) with S={self.tokens} and C a multiple of "
                f"{self.grouped_channels} (grouped_channels), got {tuple(x.shape)}"
            )
        y, cache = super().forward(self.concatenated(x), train, rng)  # (S*G, B, C / G)
        return self.separated(y), cache

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        return self.separated(super().backward(self.concatenated(dy), cache))

    def concatenated(self, x: Array) -> Array:
        """x (S, B, C)  ->  (S*G, B, C / G): row g*S + s of column n is token s of channel n*G + g."""
        tokens, images, channels = x.shape
        split = x.reshape(tokens, images, channels // self.grouped_channels, self.grouped_channels)  # (S, B, C / G, G)
        return split.transpose(3, 0, 1, 2).reshape(self.grouped_channels * tokens, images, -1)

    def separated(self, y: Array) -> Array:
        """y (S*G, B, C / G)  ->  (S, B, C), the inverse of `concatenated`"""
        _, images, columns = y.shape
        split = y.reshape(self.grouped_channels, self.tokens, images, columns)  # (G, S, B, C / G)
        return split.transpose(1, 2, 3, 0).reshape(self.tokens, images, columns * self.grouped_channels)
