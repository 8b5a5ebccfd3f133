"""The Mixer block."""

from tinymixer.layers.layer import Layer
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.mlp import ChannelMixing, TokenMixing
from tinymixer.parameters import prefixed


class MixerBlock(Layer):
    """Token mixing, then channel mixing, each normalised before and added to what came in (Mixer, eq. 1).

        x = x + token_mixing(token_norm(x))
        x = x + channel_mixing(channel_norm(x))

    config      MixerConfig with the block's sizes
    drop_path   rate at which each of the two branches is dropped for an image in training
    """

    def __init__(self, config, drop_path=0.0, **keywords):
        super().__init__(self.specification(config), **keywords)
        self.drop_path = drop_path
        part, channels, eps = self.parameters.part, config.hidden_dim, config.layer_norm_eps
        mlp = {"gelu": config.gelu, "dropout": config.dropout}
        self.token_norm = LayerNorm(channels, eps, parameters=part("token_norm"))
        self.token_mixing = TokenMixing(
            config.num_tokens, config.tokens_mlp_dim, **mlp, parameters=part("token_mixing")
        )
        self.channel_norm = LayerNorm(channels, eps, parameters=part("channel_norm"))
        self.channel_mixing = ChannelMixing(channels, config.channels_mlp_dim, **mlp, parameters=part("channel_mixing"))

    @staticmethod
    def specification(config):
        return {
            **prefixed("token_norm", LayerNorm.specification(config.hidden_dim)),
            **prefixed("token_mixing", TokenMixing.specification(config.num_tokens, config.tokens_mlp_dim)),
            **prefixed("channel_norm", LayerNorm.specification(config.hidden_dim)),
            **prefixed("channel_mixing", ChannelMixing.specification(config.hidden_dim, config.channels_mlp_dim)),
        }

    def forward(self, x, train=False, rng=None):
        """x (S, B, C)  ->  y (S, B, C), cache"""
        x, token_cache = self._branch_forward(self.token_norm, self.token_mixing, x, train, rng)
        x, channel_cache = self._branch_forward(self.channel_norm, self.channel_mixing, x, train, rng)
        return x, (token_cache, channel_cache)

    def backward(self, dy, cache):
        """dy (S, B, C)  ->  dx (S, B, C)"""
        token_cache, channel_cache = cache
        dx = self._branch_backward(self.channel_norm, self.channel_mixing, dy, channel_cache)
        return self._branch_backward(self.token_norm, self.token_mixing, dx, token_cache)

    def _branch_forward(self, norm, mixing, x, train, rng):
        """x + mixing(norm(x)), the branch dropped for some images in training."""
        normed, norm_cache = norm.forward(x, train, rng)  # (S, B, C)
        branch, mixing_cache = mixing.forward(normed, train, rng)  # (S, B, C)
        drop_cache = None
        if train and self.drop_path:
            keep = self.keep_mask((x.shape[1],), self.drop_path, rng)  # (B,)
            branch, drop_cache = self.ops.drop_path_forward(branch, keep, self.drop_path)
        return x + branch, (norm_cache, mixing_cache, drop_cache)

    def _branch_backward(self, norm, mixing, dy, cache):
        """dy reaches x twice: straight along the sum, and through the branch."""
        norm_cache, mixing_cache, drop_cache = cache
        dbranch = dy if drop_cache is None else self.ops.drop_path_backward(dy, drop_cache)  # (S, B, C)
        return dy + norm.backward(mixing.backward(dbranch, mixing_cache), norm_cache)
