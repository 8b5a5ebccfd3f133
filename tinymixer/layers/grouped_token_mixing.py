"""Token mixing with an MLP of its own for each group of channels."""

from typing import Any, Self

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.layer import Layer
from tinymixer.layers.mlp import TokenMixing
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification, prefixed


class GroupedTokenMixing(Layer):
    """The channels are cut into G groups of C / G neighbours; each group's tokens are mixed by its own `TokenMixing`.

    x (S, B, C); parts "0" to "G-1", each with weight1 (DS, S), bias1 (DS,), weight2 (S, DS), bias2 (S,)

    A Mixer uses one MLP for all channels. A separate one for each channel, G = C, is the "untied" token mixing that the
    authors tried (Mixer, appendix A); groups lie between. The products cost the same for every G, the weights G times
    as much.
    """

    def __init__(self, sizes: BlockSizes, **keywords: Any) -> None:
        super().__init__(self.specification_for(sizes), **keywords)
        self.channels = sizes.hidden_dim // sizes.token_groups  # of a group
        self.groups = [
            TokenMixing.for_block(sizes, parameters=self.parameters.part(str(i))) for i in range(sizes.token_groups)
        ]

    @classmethod
    def specification_for(cls, sizes: BlockSizes) -> Specification:
        """The specification for a block of these sizes. Raises ConfigError unless the groups divide the channels."""
        if sizes.hidden_dim % sizes.token_groups:
            raise ConfigError(f"token_groups {sizes.token_groups} does not divide hidden_dim {sizes.hidden_dim}")
        specification: Specification = {}
        for i in range(sizes.token_groups):
            specification = {**specification, **prefixed(str(i), TokenMixing.specification_for(sizes))}
        return specification

    @classmethod
    def for_block(cls, sizes: BlockSizes, **keywords: Any) -> Self:
        return cls(sizes, **keywords)

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        pairs = [
            group.forward(x[..., i * self.channels : (i + 1) * self.channels], train, rng)
            for i, group in enumerate(self.groups)
        ]
        return self.backend.xp.concatenate([y for y, _ in pairs], axis=-1), [cache for _, cache in pairs]

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        parts = [
            group.backward(dy[..., i * self.channels : (i + 1) * self.channels], cache[i])
            for i, group in enumerate(self.groups)
        ]
        return self.backend.xp.concatenate(parts, axis=-1)
