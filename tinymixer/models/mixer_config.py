"""The sizes of a Mixer, checked before anything is built from them."""

import math
from dataclasses import dataclass

from tinymixer.layers.attention import require_heads
from tinymixer.layers.block_sizes import BlockSizes
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.layers.mlp import GELU_FORMS
from tinymixer.layers.token_mixing import TOKEN_MIXERS
from tinymixer.models.image_config import PatchConfig
from tinymixer.options import option


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

    def require_consistent(self) -> None:
        super().require_consistent()
        if self.tokens == "attention":
            require_heads(self.hidden_dim, self.heads)

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
        """Multiply-adds of a forward pass for one image, of MLP-Mixer (tokens = mlp): the matrix products alone."""
        tokens, channels = self.num_tokens, self.hidden_dim
        block = 2 * tokens * channels * (self.tokens_mlp_dim + self.channels_mlp_dim)
        return tokens * self.patch_features * channels + self.num_blocks * block + channels * self.num_classes
