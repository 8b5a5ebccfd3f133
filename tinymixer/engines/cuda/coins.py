"""Which of a step's coins belong to which mask.

The masks of a step come from one generator, drawn in the order in which `MlpMixer.forward` asks for them: part after
part of the batch, block after block, and in a block the token MLP's hidden layer, its branch, the channel MLP's, its
branch. The GPU throws any of these coins by its number (`kernels/cuda/coins.cu`), so all it needs is where each mask
begins.
"""

from collections.abc import Iterator

import numpy as np

from tinymixer.data import generator
from tinymixer.models import MixerConfig

KINDS = ("token", "channel")
GENERATOR_NUMBERS = 4  # of 64 bits: state and increment of PCG64, each its upper half first


def branch_rates(num_blocks: int, drop_path: float) -> np.ndarray:
    """Stochastic depth's rate of every branch, token and channel mixing in turn: float32 (2 * num_blocks,)."""
    rise = drop_path / max(num_blocks - 1, 1)
    return np.repeat([i * rise for i in range(num_blocks)], 2).astype(np.float32)


def hidden_size(config: MixerConfig, kind: str, images: int) -> int:
    """Numbers in a hidden layer: (DS, B, C) or (S, B, DC)."""
    if kind == "token":
        return config.tokens_mlp_dim * images * config.hidden_dim
    return config.num_tokens * images * config.channels_mlp_dim


class CoinPositions:
    """The number of the first coin of every mask of a step over `parts` parts of `images` images each.

    hidden     {(part, block, kind): number} for dropout; empty where nothing is dropped
    branches   int64 (branches, parts) for stochastic depth; 0 for branches that are never dropped
    """

    def __init__(self, config: MixerConfig, images: int, parts: int = 1) -> None:
        rates = branch_rates(config.num_blocks, config.drop_path)  # (branches,)
        self.hidden: dict[tuple[int, int, str], int] = {}
        self.branches = np.zeros((len(rates), parts), np.int64)
        thrown = 0
        for part, branch in self._in_order(len(rates), parts):
            block, kind = branch // 2, KINDS[branch % 2]
            if config.dropout:
                self.hidden[part, block, kind] = thrown
                thrown += hidden_size(config, kind, images)
            if rates[branch]:
                self.branches[branch, part] = thrown
                thrown += images
        self.thrown = thrown  # coins of the whole step

    @staticmethod
    def _in_order(branches: int, parts: int) -> Iterator[tuple[int, int]]:
        return ((part, branch) for part in range(parts) for branch in range(branches))


def generator_numbers(seed: int, epoch: int, step: int) -> np.ndarray:
    """Where the generator of a step's masks stands before its first coin: uint64 (4,)."""
    inner = generator(seed, "masks", epoch, step).bit_generator.state["state"]
    halves = [(number >> shift) & (2**64 - 1) for number in (inner["state"], inner["inc"]) for shift in (64, 0)]
    return np.array(halves, np.uint64)
