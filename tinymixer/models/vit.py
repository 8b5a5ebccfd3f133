"""The Vision Transformer: patches as tokens, and blocks in which self-attention mixes them."""

import math
from dataclasses import dataclass
from typing import Any

from tinymixer.draws import Draws
from tinymixer.layers.attention import ClassToken, PositionEmbedding, require_heads
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.layer_norm import LayerNorm
from tinymixer.layers.linear import Linear
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import GELU_FORMS
from tinymixer.models.image_config import PatchConfig
from tinymixer.models.model import Model
from tinymixer.models.registry import register_model
from tinymixer.ops.array_library import Array, Cache
from tinymixer.options import option
from tinymixer.parameters import Specification, prefixed

POOLS = ("class", "mean")


@dataclass(frozen=True)
class ViTConfig(PatchConfig):
    """A Vision Transformer's sizes (Dosovitskiy et al. 2021, table 1), in the Mixer's names.

    The paper calls hidden_dim "hidden size D", channels_mlp_dim "MLP size" and num_blocks "layers".

    Raises ConfigError, in a sentence, when a field has the wrong type, is out of range, or does not fit another.
    """

    heads: int = option(4, "Heads of self-attention; they divide hidden_dim.", minimum=1)
    channels_mlp_dim: int = option(512, "Hidden size of the MLP over channels (DC).", minimum=1)
    pool: str = option("class", "What the head sees: the class token, or the mean over the tokens.", choices=POOLS)
    gelu: str = option("tanh", "Form of the GELU.", choices=GELU_FORMS)
    dropout: float = option(0.0, "Dropout rate after the GELU of each MLP.", minimum=0, below=1)
    drop_path: float = option(0.0, "Stochastic depth: rate of the last block, rising from 0.", minimum=0, below=1)
    layer_norm_eps: float = option(1e-6, "Epsilon under LayerNorm's square root.", above=0, below=1)

    def require_consistent(self) -> None:
        require_heads(self.hidden_dim, self.heads)
        super().require_consistent()

    @classmethod
    def sizes_at(cls, width: int) -> dict[str, Any]:
        """As in table 1 of the paper: DC is four times C."""
        return {"hidden_dim": width, "channels_mlp_dim": 4 * width}

    @property
    def sequence_length(self) -> int:
        """Tokens in a block: the patches and, with pool = class, the class token."""
        return self.num_tokens + (self.pool == "class")

    @property
    def block_sizes(self) -> BlockSizes:
        """The sizes and rates that one block is built from."""
        return BlockSizes(
            grid=self.grid,
            hidden_dim=self.hidden_dim,
            channels_mlp_dim=self.channels_mlp_dim,
            gelu=self.gelu,
            dropout=self.dropout,
            layer_norm_eps=self.layer_norm_eps,
            heads=self.heads,
        )

    @property
    def parameter_count(self) -> int:
        """The number of parameters of a Vision Transformer of these sizes, without building it."""
        block = MixerBlock.specification(self.block_sizes, "attention")
        ends = VisionTransformer.specification_of_ends(self)
        counts = [sum(math.prod(spec.shape) for spec in part.values()) for part in (block, ends)]
        return self.num_blocks * counts[0] + counts[1]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass for one image: the matrix products alone."""
        tokens, channels = self.sequence_length, self.hidden_dim
        linears = tokens * channels * (4 * channels + 2 * self.channels_mlp_dim)
        block = linears + 2 * tokens**2 * channels
        stem = self.num_tokens * self.patch_features * channels
        return stem + self.num_blocks * block + channels * self.num_classes


@register_model("vit", ViTConfig)
class VisionTransformer(Model):
    """ViT (Dosovitskiy et al. 2021, arXiv 2010.11929), as its figure 1 draws it; keywords as for `MlpMixer`.

        z_0  = [x_class; x_1 E; ...; x_S E] + E_pos     patches, stem, class token, position embeddings    (eq. 1)
        z'_l = MSA(LN(z_{l-1})) + z_{l-1}               a block's token mixing: self-attention             (eq. 2)
        z_l  = MLP(LN(z'_l)) + z'_l                     a block's channel mixing                           (eq. 3)
        y    = LN(z_L[0])                               what the head classifies                           (eq. 4)

    Eqs. 2 and 3 are the Mixer's block with another token mixer, so `MixerBlock` computes them. With pool = "mean" there
    is no class token, and the head sees the mean of LN(z_L) over the tokens. First weights are the Mixer's: LeCun
    normal, zero biases, zero head (the authors draw Xavier uniform, which for attention's square matrices has the same
    variance). Position embeddings begin normal with deviation 0.02, the class token at zero.
    """

    independent_images = True

    def __init__(self, config: ViTConfig, **keywords: Any) -> None:
        super().__init__(self.specification(config), **keywords)
        self.config = config
        part, channels = self.parameters.part, config.hidden_dim
        rise = config.drop_path / max(config.num_blocks - 1, 1)
        self.stem = Linear(config.patch_features, channels, parameters=part("stem"))
        self.class_token = ClassToken(channels, parameters=part("class_token")) if config.pool == "class" else None
        self.positions = PositionEmbedding(config.sequence_length, channels, parameters=part("positions"))
        self.blocks = [
            MixerBlock(config.block_sizes, "attention", drop_path=i * rise, parameters=part(f"blocks.{i}"))
            for i in range(config.num_blocks)
        ]
        self.pre_head_layer_norm = LayerNorm(channels, config.layer_norm_eps, parameters=part("pre_head_layer_norm"))
        self.head = Linear(channels, config.num_classes, parameters=part("head"))

    @staticmethod
    def specification(config: ViTConfig) -> Specification:
        block = MixerBlock.specification(config.block_sizes, "attention")
        specification = VisionTransformer.specification_of_ends(config)
        for i in range(config.num_blocks):
            specification = {**specification, **prefixed(f"blocks.{i}", block)}
        return specification

    @staticmethod
    def specification_of_ends(config: ViTConfig) -> Specification:
        """The parameters of all but the blocks."""
        channels = config.hidden_dim
        specification = prefixed("stem", Linear.specification(config.patch_features, channels))
        if config.pool == "class":
            specification |= prefixed("class_token", ClassToken.specification(channels))
        specification |= prefixed("positions", PositionEmbedding.specification(config.sequence_length, channels))
        specification |= prefixed("pre_head_layer_norm", LayerNorm.specification(channels))
        return specification | prefixed("head", Linear.specification(channels, config.num_classes, initialise=zeros))

    def forward(self, images: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """images (B, height, width, in_channels) float, normalised  ->  logits (B, K), cache

        rng holds the random `Draws` for these images; training needs it when dropout or drop path is on.
        Raises ShapeError when the images have another size or dtype than the model.
        """
        self.check_images(images)
        ops, class_token_cache = self.ops, None
        patches, patches_cache = ops.images_to_patches_forward(images, self.config.patch_size)  # (S, B, features)
        z, stem_cache = self.stem.forward(patches)  # (S, B, C)
        if self.class_token is not None:
            z, class_token_cache = self.class_token.forward(z)  # (S+1, B, C)
        z, positions_cache = self.positions.forward(z)  # (S+1, B, C)
        block_caches = []
        for block in self.blocks:
            z, block_cache = block.forward(z, train, rng)  # (S+1, B, C)
            block_caches.append(block_cache)
        z, norm_cache = self.pre_head_layer_norm.forward(z)  # (S+1, B, C)
        pool = ops.mean_over_tokens_forward if self.class_token is None else ops.take_class_token_forward
        features, pool_cache = pool(z)  # (B, C)
        logits, head_cache = self.head.forward(features)  # (B, K)
        ends = patches_cache, stem_cache, class_token_cache, positions_cache, norm_cache, pool_cache, head_cache
        return logits, (ends, block_caches)

    def backward(self, dlogits: Array, cache: Cache) -> Array:
        """dlogits (B, K)  ->  dimages (B, height, width, in_channels); parameter gradients are added"""
        ends, block_caches = cache
        patches_cache, stem_cache, class_token_cache, positions_cache, norm_cache, pool_cache, head_cache = ends
        ops = self.ops
        pool = ops.mean_over_tokens_backward if self.class_token is None else ops.take_class_token_backward
        dfeatures = self.head.backward(dlogits, head_cache)  # (B, C)
        dz = self.pre_head_layer_norm.backward(pool(dfeatures, pool_cache), norm_cache)  # (S+1, B, C)
        for block, block_cache in zip(reversed(self.blocks), reversed(block_caches), strict=True):
            dz = block.backward(dz, block_cache)  # (S+1, B, C)
        dz = self.positions.backward(dz, positions_cache)  # (S+1, B, C)
        if self.class_token is not None:
            dz = self.class_token.backward(dz, class_token_cache)  # (S, B, C)
        dpatches = self.stem.backward(dz, stem_cache)  # (S, B, features)
        return ops.images_to_patches_backward(dpatches, patches_cache)

    def update_buffers(self, cache: Cache) -> None:
        (_, stem_cache, _, _, norm_cache, _, head_cache), block_caches = cache
        self.stem.update_buffers(stem_cache)
        for block, block_cache in zip(self.blocks, block_caches, strict=True):
            block.update_buffers(block_cache)
        self.pre_head_layer_norm.update_buffers(norm_cache)
        self.head.update_buffers(head_cache)
