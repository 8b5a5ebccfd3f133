"""The linear Mixer: a Mixer without its nonlinearities and LayerNorms, so that only the two mixings remain."""

from dataclasses import dataclass
from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.linear import Linear
from tinymixer.layers.linear_mixer_block import LinearMixerBlock
from tinymixer.models.image_config import PatchConfig
from tinymixer.models.model import Model
from tinymixer.models.registry import register_model
from tinymixer.ops.array_library import Array, Cache
from tinymixer.parameters import Specification, prefixed


@dataclass(frozen=True)
class LinearMixerConfig(PatchConfig):
    """A linear Mixer's sizes: only those that every model with patches has."""

    @property
    def parameter_count(self) -> int:
        """The number of parameters of a linear Mixer of these sizes."""
        tokens, channels = self.num_tokens, self.hidden_dim
        stem = (self.patch_features + 1) * channels
        block = (tokens + 1) * tokens + (channels + 1) * channels
        head = (channels + 1) * self.num_classes
        return stem + self.num_blocks * block + head


@register_model("linear_mixer", LinearMixerConfig)
class LinearMixer(Model):
    """Patches, stem, blocks of two Linears (`LinearMixerBlock`), mean over tokens, head; keywords as for `MlpMixer`.

    It is meant for study, not for accuracy: without a nonlinearity between its Linears the whole network is one linear
    map. The token mixings multiply to one matrix A, applied from the left; the stem and the channel mixings multiply to
    one matrix M, applied from the right. The mean over tokens reduces A to one row, so every class sees the same
    weighted mean of the patches, with one weight per token. (So eight blocks compute no more than one can.) The MLPs of
    a Mixer remove that limit.
    """

    independent_images = True

    def __init__(self, config: LinearMixerConfig, **keywords: Any) -> None:
        super().__init__(self.specification(config), **keywords)
        self.config = config
        part = self.parameters.part
        self.stem = Linear(config.patch_features, config.hidden_dim, parameters=part("stem"))
        self.blocks = [
            LinearMixerBlock(config.num_tokens, config.hidden_dim, parameters=part(f"blocks.{i}"))
            for i in range(config.num_blocks)
        ]
        self.head = Linear(config.hidden_dim, config.num_classes, parameters=part("head"))

    @staticmethod
    def specification(config: LinearMixerConfig) -> Specification:
        specification = prefixed("stem", Linear.specification(config.patch_features, config.hidden_dim))
        for i in range(config.num_blocks):
            block = LinearMixerBlock.specification(config.num_tokens, config.hidden_dim)
            specification |= prefixed(f"blocks.{i}", block)
        specification |= prefixed("head", Linear.specification(config.hidden_dim, config.num_classes, initialise=zeros))
        return specification

    def forward(self, images: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """images (B, height, width, in_channels) float, normalised  ->  logits (B, K), cache

        Raises ShapeError when the images have another size or dtype than the model.
        """
        self.check_images(images)
        patches, patches_cache = self.ops.images_to_patches_forward(images, self.config.patch_size)  # (S, B, features)
        x, stem_cache = self.stem.forward(patches)  # (S, B, C)
        block_caches = []
        for block in self.blocks:
            x, block_cache = block.forward(x)  # (S, B, C)
            block_caches.append(block_cache)
        features, mean_cache = self.ops.mean_over_tokens_forward(x)  # (B, C)
        logits, head_cache = self.head.forward(features)  # (B, K)
        return logits, (patches_cache, stem_cache, block_caches, mean_cache, head_cache)

    def backward(self, dlogits: Array, cache: Cache) -> Array:
        """dlogits (B, K)  ->  dimages (B, height, width, in_channels); parameter gradients are added"""
        patches_cache, stem_cache, block_caches, mean_cache, head_cache = cache
        dfeatures = self.head.backward(dlogits, head_cache)  # (B, C)
        dx = self.ops.mean_over_tokens_backward(dfeatures, mean_cache)  # (S, B, C)
        for block, block_cache in zip(reversed(self.blocks), reversed(block_caches), strict=True):
            dx = block.backward(dx, block_cache)  # (S, B, C)
        dpatches = self.stem.backward(dx, stem_cache)  # (S, B, features)
        return self.ops.images_to_patches_backward(dpatches, patches_cache)

    def update_buffers(self, cache: Cache) -> None:
        _, stem_cache, block_caches, _, head_cache = cache
        self.stem.update_buffers(stem_cache)
        for block, block_cache in zip(self.blocks, block_caches, strict=True):
            block.update_buffers(block_cache)
        self.head.update_buffers(head_cache)
