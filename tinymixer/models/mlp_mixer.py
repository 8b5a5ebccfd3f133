"""The whole network: MLP-Mixer, from images to logits and back."""

from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.linear import Linear
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.models.mixer_config import MixerConfig
from tinymixer.models.model import Model
from tinymixer.models.registry import register_model
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification, prefixed


@register_model("mlp_mixer", MixerConfig)
class MlpMixer(Model):
    """MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601): patches, stem, blocks, LayerNorm, mean over tokens, head.

    config    MixerConfig; its `tokens` says how the blocks mix tokens; "mlp" is MLP-Mixer
    backend   "numpy", "cupy", "auto" or a Backend
    dtype     "float32" or "float64", of weights and activations
    seed      first weights: LeCun normal (truncated), zero biases, zero head, as in the authors' code
    kernels   "auto" for the backend's fastest operations, "reference" for the generic ones

    The parts carry the names of the authors' code (stem, token_mixing, channel_mixing, pre_head_layer_norm, head). The
    parameters' full names do not: `blocks.0.token_mixing.weight1` is `MixerBlock_0/token_mixing/Dense_0/kernel`,
    transposed, in their files. `pretrained/naming.py` has the whole table. Stochastic depth rises linearly from 0 in
    the first block to `config.drop_path` in the last.
    """

    independent_images = True

    def __init__(self, config: MixerConfig, **keywords: Any) -> None:
        super().__init__(self.specification(config), **keywords)
        self.config = config
        part = self.parameters.part
        rise = config.drop_path / max(config.num_blocks - 1, 1)
        self.stem = Linear(config.patch_features, config.hidden_dim, parameters=part("stem"))
        self.blocks = [
            MixerBlock(config.block_sizes, config.tokens, drop_path=i * rise, parameters=part(f"blocks.{i}"))
            for i in range(config.num_blocks)
        ]
        self.pre_head_layer_norm = LayerNorm(
            config.hidden_dim, config.layer_norm_eps, parameters=part("pre_head_layer_norm")
        )
        self.head = Linear(config.hidden_dim, config.num_classes, parameters=part("head"))

    @staticmethod
    def specification(config: MixerConfig) -> Specification:
        block = MixerBlock.specification(config.block_sizes, config.tokens)
        specification = prefixed("stem", Linear.specification(config.patch_features, config.hidden_dim))
        for i in range(config.num_blocks):
            specification |= prefixed(f"blocks.{i}", block)
        specification |= prefixed("pre_head_layer_norm", LayerNorm.specification(config.hidden_dim))
        specification |= prefixed("head", Linear.specification(config.hidden_dim, config.num_classes, initialise=zeros))
        return specification

    def forward(self, images: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """images (B, height, width, in_channels) float, normalised  ->  logits (B, K), cache

        rng holds the random `Draws` for these images; training needs it when dropout or drop path is on.
        Raises ShapeError when the images have another size or dtype than the model.
        """
        self.check_images(images)
        ops, patch_size, overlap = self.ops, self.config.patch_size, self.config.overlap
        if overlap:
            patches, patches_cache = ops.images_to_windows_forward(images, patch_size, overlap)  # (S, B, features)
        else:
            patches, patches_cache = ops.images_to_patches_forward(images, patch_size)  # (S, B, features)
        x, stem_cache = self.stem.forward(patches)  # (S, B, C)
        block_caches = []
        for block in self.blocks:
            x, block_cache = block.forward(x, train, rng)  # (S, B, C)
            block_caches.append(block_cache)
        x, norm_cache = self.pre_head_layer_norm.forward(x)  # (S, B, C)
        features, mean_cache = ops.mean_over_tokens_forward(x)  # (B, C)
        logits, head_cache = self.head.forward(features)  # (B, K)
        return logits, (patches_cache, stem_cache, block_caches, norm_cache, mean_cache, head_cache)

    def backward(self, dlogits: Array, cache: Cache) -> Array:
        """dlogits (B, K)  ->  dimages (B, height, width, in_channels); parameter gradients are added"""
        patches_cache, stem_cache, block_caches, norm_cache, mean_cache, head_cache = cache
        dfeatures = self.head.backward(dlogits, head_cache)  # (B, C)
        dx = self.ops.mean_over_tokens_backward(dfeatures, mean_cache)  # (S, B, C)
        dx = self.pre_head_layer_norm.backward(dx, norm_cache)  # (S, B, C)
        for block, block_cache in zip(reversed(self.blocks), reversed(block_caches), strict=True):
            dx = block.backward(dx, block_cache)  # (S, B, C)
        dpatches = self.stem.backward(dx, stem_cache)  # (S, B, features)
        if self.config.overlap:
            return self.ops.images_to_windows_backward(dpatches, patches_cache)
        return self.ops.images_to_patches_backward(dpatches, patches_cache)

    def update_buffers(self, cache: Cache) -> None:
        _, stem_cache, block_caches, norm_cache, _, head_cache = cache
        self.stem.update_buffers(stem_cache)
        for block, block_cache in zip(self.blocks, block_caches, strict=True):
            block.update_buffers(block_cache)
        self.pre_head_layer_norm.update_buffers(norm_cache)
        self.head.update_buffers(head_cache)
