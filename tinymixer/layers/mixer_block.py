"""The Mixer block."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.gated_mlp import GatedChannelMixing
from tinymixer.layers.layer import Layer
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.layer_scale import LayerScale
from tinymixer.layers.mlp import ChannelMixing
from tinymixer.layers.token_mixing import TokenMixer, token_mixer_of
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import ParameterSpec, Specification, prefixed


class MixerBlock(Layer):
    """Token mixing, then channel mixing, each applied to LayerNorm(x) and added to x (Mixer, eq. 1).

        x = x + token_mixing(token_norm(x))
        x = x + channel_mixing(channel_norm(x))

    Variants by the sizes: an MLP for each group of channels in token mixing (`GroupedTokenMixing`), a gate in channel
    mixing (`GatedChannelMixing`), and LayerScale, x = x + scale * mixing(norm(x)) with a scale for each branch.

    sizes         the block's sizes
    token_mixer   a name in `tinymixer.layers.token_mixing`, or a class as described there. With "none" the first line
                  is left out, and `token_norm` and `token_mixing` are None
    drop_path     rate at which each of the two branches is dropped for an image in training (`ops/dropout.py`)
    """

    token_norm: LayerNorm | None
    token_mixing: Any  # a token mixer, of whichever class (or None)
    token_scale: LayerScale | None
    channel_scale: LayerScale | None

    def __init__(
        self,
        sizes: BlockSizes,
        token_mixer: str | TokenMixer | None = "mlp",
        drop_path: float = 0.0,
        **keywords: Any,
    ) -> None:
        super().__init__(self.specification(sizes, token_mixer), **keywords)
        self.drop_path = drop_path
        part, channels, eps = self.parameters.part, sizes.hidden_dim, sizes.layer_norm_eps
        mixer = token_mixer_of(token_mixer, sizes.token_groups)
        self.token_norm = self.token_mixing = self.token_scale = self.channel_scale = None
        if mixer is not None:
            self.token_norm = LayerNorm(channels, eps, parameters=part("token_norm"))
            self.token_mixing = mixer.for_block(sizes, parameters=part("token_mixing", may_be_empty=True))
        self.channel_norm = LayerNorm(channels, eps, parameters=part("channel_norm"))
        self.channel_mixing = _channel_mixer(sizes)(
            channels, sizes.channels_mlp_dim, sizes.gelu, sizes.dropout, parameters=part("channel_mixing")
        )
        if sizes.layer_scale:
            if mixer is not None:
                self.token_scale = LayerScale(channels, sizes.layer_scale, parameters=part("token_scale"))
            self.channel_scale = LayerScale(channels, sizes.layer_scale, parameters=part("channel_scale"))

    @staticmethod
    def specification(sizes: BlockSizes, token_mixer: str | TokenMixer | None = "mlp") -> Specification:
        mixer, norm = token_mixer_of(token_mixer, sizes.token_groups), LayerNorm.specification(sizes.hidden_dim)
        specification: dict[str, ParameterSpec] = {}
        scale = LayerScale.specification(sizes.hidden_dim, sizes.layer_scale)
        if mixer is not None:
            specification |= prefixed("token_norm", norm)
            specification |= prefixed("token_mixing", mixer.specification_for(sizes))
            specification |= prefixed("token_scale", scale) if sizes.layer_scale else {}
        specification |= prefixed("channel_norm", norm)
        channel_mixing = _channel_mixer(sizes).specification(sizes.hidden_dim, sizes.channels_mlp_dim)
        specification |= prefixed("channel_mixing", channel_mixing)
        return specification | (prefixed("channel_scale", scale) if sizes.layer_scale else {})

    def forward(self, x: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """x (S, B, C)  ->  y (S, B, C), cache"""
        token_cache = None
        if self.token_mixing is not None:
            x, token_cache = self._branch_forward(*self._token_branch, x, train, rng)
        x, channel_cache = self._branch_forward(*self._channel_branch, x, train, rng)
        return x, (token_cache, channel_cache)

    def backward(self, dy: Array, cache: Cache) -> Array:
        """dy (S, B, C)  ->  dx (S, B, C)"""
        token_cache, channel_cache = cache
        dx = self._branch_backward(*self._channel_branch, dy, channel_cache)
        if self.token_mixing is None:
            return dx
        return self._branch_backward(*self._token_branch, dx, token_cache)

    @property
    def _token_branch(self) -> tuple[Any, Any, Any]:
        return self.token_norm, self.token_mixing, self.token_scale

    @property
    def _channel_branch(self) -> tuple[Any, Any, Any]:
        return self.channel_norm, self.channel_mixing, self.channel_scale

    def update_buffers(self, cache: Cache) -> None:
        token_cache, channel_cache = cache
        if self.token_mixing is not None:
            self._branch_update_buffers(self.token_norm, self.token_mixing, token_cache)
        self._branch_update_buffers(self.channel_norm, self.channel_mixing, channel_cache)

    def _branch_forward(
        self, norm: Any, mixing: Any, scale: Any, x: Array, train: bool, rng: Draws | None
    ) -> tuple[Array, Cache]:
        """x + scale(mixing(norm(x))), the branch dropped for some images in training; scale may be None."""
        normed, norm_cache = norm.forward(x, train, rng)  # (S, B, C)
        branch, mixing_cache = mixing.forward(normed, train, rng)  # (S, B, C)
        scale_cache = drop_cache = None
        if scale is not None:
            branch, scale_cache = scale.forward(branch)  # (S, B, C)
        if train and self.drop_path:
            keep = mixing.keep_mask((x.shape[1],), self.drop_path, rng, "drop_path", 0)  # (B,)
            branch, drop_cache = self.ops.drop_path_forward(branch, keep, self.drop_path)
        return x + branch, (norm_cache, mixing_cache, scale_cache, drop_cache)

    def _branch_backward(self, norm: Any, mixing: Any, scale: Any, dy: Array, cache: Cache) -> Array:
        """dy reaches x twice: directly, through the sum, and through the branch."""
        norm_cache, mixing_cache, scale_cache, drop_cache = cache
        dbranch = dy if drop_cache is None else self.ops.drop_path_backward(dy, drop_cache)  # (S, B, C)
        if scale is not None:
            dbranch = scale.backward(dbranch, scale_cache)  # (S, B, C)
        return dy + norm.backward(mixing.backward(dbranch, mixing_cache), norm_cache)

    @staticmethod
    def _branch_update_buffers(norm: Any, mixing: Any, cache: Cache) -> None:
        norm_cache, mixing_cache, *_ = cache
        norm.update_buffers(norm_cache)
        mixing.update_buffers(mixing_cache)


def _channel_mixer(sizes: BlockSizes) -> type[ChannelMixing]:
    return GatedChannelMixing if sizes.gated else ChannelMixing
