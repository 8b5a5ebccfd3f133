"""The sizes of a block: all that its layers need from a model's configuration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSizes:
    """What a block is built from. A token mixer uses the fields that it needs.

    grid               patches down and across: S = down * across tokens
    hidden_dim         channels of a token (C)
    channels_mlp_dim   hidden size of the channel-mixing MLP (DC)
    tokens_mlp_dim     hidden size of a token mixer that has a hidden layer (DS)
    gelu, dropout      form of the GELU, and dropout rate after it
    heads              heads of self-attention
    layer_norm_eps     epsilon under LayerNorm's square root
    """

    grid: tuple[int, int]
    hidden_dim: int
    channels_mlp_dim: int
    tokens_mlp_dim: int = 0
    gelu: str = "tanh"
    dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    heads: int = 1

    @property
    def num_tokens(self) -> int:
        """S, the number of tokens."""
        return self.grid[0] * self.grid[1]
