"""What the kernels need to draw the same Bernoulli masks as the layers (`kernels/cuda/bernoulli_masks.cu`)."""

import numpy as np

from tinymixer.draws import philox_key, place_number, place_of, threshold
from tinymixer.models import MixerConfig

KINDS = ("token", "channel")
KEY_NUMBERS = 4  # the fields of `Key` in the kernels' source


def branch_rates(num_blocks: int, drop_path: float) -> np.ndarray:
    """Stochastic depth's rate of every branch, token and channel mixing in turn: float32 (2 * num_blocks,)."""
    rise = drop_path / max(num_blocks - 1, 1)
    return np.repeat([i * rise for i in range(num_blocks)], 2).astype(np.float32)


def branch_places(num_blocks: int) -> np.ndarray:
    """The places where stochastic depth draws, branch by branch: uint32 (2 * num_blocks,)."""
    names = [(block, kind) for block in range(num_blocks) for kind in KINDS]
    return np.array([place_number(place_of(part_of(*name), "drop_path")) for name in names], np.uint32)


def branch_limits(num_blocks: int, drop_path: float) -> np.ndarray:
    """Thresholds: a branch is kept where its 16 random bits are below. uint32 (2 * num_blocks,)"""
    rise = drop_path / max(num_blocks - 1, 1)
    return np.repeat([threshold(1 - i * rise) for i in range(num_blocks)], 2).astype(np.uint32)


def dropout_place(block: int, kind: str) -> int:
    """The place where a hidden layer's mask is drawn."""
    return place_number(place_of(part_of(block, kind), "dropout"))


def part_of(block: int, kind: str) -> str:
    """The prefix of a block's mixing layer, as in the model's parameters."""
    return f"blocks.{block}.{kind}_mixing"


def hidden_shape(config: MixerConfig, kind: str, images: int) -> tuple[int, int, int]:
    """A hidden layer's (rows, images, columns): (DS, B, C) or (S, B, DC)."""
    if kind == "token":
        return config.tokens_mlp_dim, images, config.hidden_dim
    return config.num_tokens, images, config.channels_mlp_dim


def step_key(seed: int, epoch: int, step: int) -> np.ndarray:
    """The key of a step's random numbers, and the step: uint32 (4,), the last of them unused."""
    return np.array([*philox_key(seed, epoch), step, 0], np.uint32)
