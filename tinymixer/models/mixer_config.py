"""The sizes of a Mixer, checked before anything is built from them."""

import math
from dataclasses import dataclass
from typing import Any

from tinymixer.borders import IMAGE_VALUES
from tinymixer.errors import ConfigError
from tinymixer.layers.attention import require_heads
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import GELU_FORMS
from tinymixer.layers.token_mixing import TOKEN_MIXERS
from tinymixer.models.image_config import PatchConfig
from tinymixer.options import option

MOST_WHITENED = 2048  # features of a window: the time for the eigenvectors grows with their cube


@dataclass(frozen=True)
class MixerConfig(PatchConfig):
    """A Mixer's sizes, in the names of the authors' own code (Tolstikhin et al. 2021, table 1).

    Raises ConfigError, in a sentence, when a field has the wrong type, is out of range, or does not fit another.
    """

    tokens: str = option("mlp", "How a block mixes tokens.", choices=tuple(TOKEN_MIXERS))
    tokens_mlp_dim: int = option(64, "Hidden size of the token-mixing MLP (DS), where tokens = mlp.", minimum=1)
    heads: int = option(4, "Heads of self-attention, where tokens = attention; they divide hidden_dim.", minimum=1)
    channels_mlp_dim: int = option(512, "Hidden size of the channel-mixing MLP (DC).", minimum=1)
    gelu: str = option("tanh", "Form of the GELU.", choices=GELU_FORMS)
    dropout: float = option(0.0, "Dropout rate after the GELU of each MLP.", minimum=0, below=1)
    drop_path: float = option(0.0, "Stochastic depth: rate of the last block, rising from 0.", minimum=0, below=1)
    layer_norm_eps: float = option(1e-6, "Epsilon under LayerNorm's square root.", above=0, below=1)
    overlap: int = option(
        0, "Pixels by which the stem sees beyond each side of a patch, reflected at the image's border.", minimum=0
    )
    untied_groups: int = option(
        1,
        "Groups of channels with a token-mixing MLP of their own; the paper's untying is one group per channel.",
        minimum=1,
    )
    grouped_channels: int = option(
        1, "Neighbouring channels that the token-mixing MLP sees at once (G); must divide hidden_dim.", minimum=1
    )
    gated: bool = option(False, "Channel mixing with a gate in its hidden layer (GEGLU).")
    layer_scale: float = option(
        0.0,
        "First value of the number that each channel of a branch is multiplied by (LayerScale); 0: none.",
        minimum=0,
    )
    token_init: str = option(
        "lecun",
        "First weights of the token-mixing MLP: lecun, or local, by which each unit acts on neighbouring patches.",
        choices=("lecun", "local"),
    )
    whitened_stem: bool = option(False, "Set the stem's weight from the training images (whitening), and freeze it.")

    def require_consistent(self) -> None:
        if self.overlap >= self.image_size:
            raise ConfigError(
                f"overlap {self.overlap} is too large: images of {self.image_size} x {self.image_size} pixels can be "
                f"reflected by {self.image_size - 1} at most. With patch_size {self.patch_size}, half of that is usual"
            )
        if self.tokens == "attention":
            require_heads(self.hidden_dim, self.heads)
        for name in ("untied_groups", "grouped_channels"):
            self._require_equal_groups(name)
        if self.untied_groups > 1 and self.grouped_channels > 1:
            raise ConfigError(
                f"untied_groups {self.untied_groups} and grouped_channels {self.grouped_channels} cannot be used "
                "together: leave one of them out"
            )
        super().require_consistent()
        if self.token_init == "local" and self.tokens != "mlp":
            raise ConfigError(
                f"token_init = local is for tokens = mlp, and tokens is {self.tokens}: leave one of them out"
            )
        if self.whitened_stem and self.patch_features > MOST_WHITENED:
            raise ConfigError(
                f"whitened_stem takes eigenvectors of {self.patch_features:,} numbers each, as many as a "
                f"window of the stem has, and the limit is {MOST_WHITENED:,}: choose smaller patches or less overlap"
            )
        IMAGE_VALUES.require(self.num_tokens * self.patch_features, f"the stem with overlap {self.overlap}")

    def _require_equal_groups(self, name: str) -> None:
        count = getattr(self, name)
        if count > 1 and self.tokens != "mlp":
            raise ConfigError(f"{name} is for tokens = mlp, and tokens is {self.tokens}: leave one of them out")
        if self.hidden_dim % count:
            raise ConfigError(
                f"{name} {count} does not divide hidden_dim {self.hidden_dim}: groups have the same number of channels"
            )

    @classmethod
    def sizes_at(cls, width: int) -> dict[str, Any]:
        """As in table 1 of the paper: DS is half of C, and DC four times C."""
        return {"hidden_dim": width, "tokens_mlp_dim": max(1, width // 2), "channels_mlp_dim": 4 * width}

    @property
    def window_size(self) -> int:
        """P + 2 * overlap, height and width of what the stem sees of an image for one token, in pixels."""
        return self.patch_size + 2 * self.overlap

    @property
    def patch_features(self) -> int:
        """window_size^2 * in_channels, the length of what the stem sees for one token; without overlap the patch."""
        return self.window_size**2 * self.in_channels

    @property
    def variants(self) -> dict[str, Any]:
        """The fields, with their values, that make it another network than the paper's: name -> value."""
        off = {"overlap": 0, "untied_groups": 1, "grouped_channels": 1, "gated": False, "layer_scale": 0.0}
        return {name: getattr(self, name) for name in off if getattr(self, name) != off[name]}

    @property
    def block_sizes(self) -> BlockSizes:
        """The sizes and rates that one block is built from."""
        return BlockSizes(
            grid=self.grid,
            hidden_dim=self.hidden_dim,
            tokens_mlp_dim=self.tokens_mlp_dim,
            channels_mlp_dim=self.channels_mlp_dim,
            gelu=self.gelu,
            dropout=self.dropout,
            layer_norm_eps=self.layer_norm_eps,
            heads=self.heads,
            untied_groups=self.untied_groups,
            grouped_channels=self.grouped_channels,
            gated=self.gated,
            layer_scale=self.layer_scale,
            token_init=self.token_init,
        )

    @property
    def parameter_count(self) -> int:
        """The number of parameters of a Mixer of these sizes, without building it."""
        block = sum(math.prod(spec.shape) for spec in MixerBlock.specification(self.block_sizes, self.tokens).values())
        stem = (self.patch_features + 1) * self.hidden_dim
        head = (self.hidden_dim + 1) * self.num_classes
        return stem + self.num_blocks * block + 2 * self.hidden_dim + head

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass for one image: the matrix products alone."""
        tokens, channels = self.num_tokens, self.hidden_dim
        mixing = {  # of a token's channel, by token mixing
            "mlp": 2 * self.tokens_mlp_dim,
            "linear": tokens,
            "attention": 4 * channels + 2 * tokens,
            "pool": 0,
            "none": 0,
        }
        products = 3 if self.gated else 2  # of channel mixing
        block = tokens * channels * (mixing[self.tokens] + products * self.channels_mlp_dim)
        return tokens * self.patch_features * channels + self.num_blocks * block + channels * self.num_classes
