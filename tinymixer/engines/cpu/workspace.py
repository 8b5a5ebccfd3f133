"""The buffers of one thread, made once and used for every slice: no page faults, and the cache stays warm."""

from typing import Protocol

import numpy as np

from tinymixer.engines.cpu.buffer_pool import BufferPool
from tinymixer.engines.cpu.channel_mixing import ChannelMixing
from tinymixer.engines.cpu.stem_and_head import Head, Stem
from tinymixer.engines.cpu.token_mixing import TokenMixing
from tinymixer.models.mixer_config import MixerConfig

GELU_ELEMENTS = 131072  # activations per chunk of GELU: with fewer, calls cost more than cache misses


class Keep(Protocol):
    """Gives a part of the model an array that it keeps until the backward pass: keep(name, *shape)."""

    def __call__(self, name: str, *shape: int) -> np.ndarray: ...


class Workspace:
    """The buffers for a slice of n images, and what works in them: stem, every block's two branches, head.

    x (S*n, C) is the residual stream, dx its gradient. Without `train` there is no backward pass to keep anything for:
    one block's branches serve for all blocks, and both use the same memory.
    """

    def __init__(self, config: MixerConfig, images: int, pool: BufferPool, train: bool) -> None:
        S, n, C, DS, DC = config.num_tokens, images, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
        take, dtype = pool.take, pool.dtype
        self.shape, self.train = (S, n, C), train
        self.x, self.branch, self.row_scratch = take(S * n, C), take(S * n, C), take(S * n)
        self.branch_by_image = self.branch.reshape(S, n, C)
        scratch = max(DC, n * C, min(GELU_ELEMENTS, max(S * n * DC, DS * n * C)))  # at least a row
        self.gelu_scratch = take(scratch), take(scratch) if train else None
        self.scale_by_image = take(n, C)
        self.scale_wide = self.scale_by_image.reshape(-1)
        self.ones, self.one_per_image = np.ones(S * n, dtype), np.ones((1, n), dtype)
        self.mean_over_channels, self.mean_over_tokens = np.full(C, 1 / C, dtype), np.full(S, 1 / S, dtype)
        if train:
            self.dx, self.dx_hat = take(S * n, C), take(S * n, C)
            self.dx_by_image = self.dx.reshape(S, n, C)
            self.dhidden = take(max(S * n * DC, DS * n * C))
        shared: dict[str, np.ndarray] = {}

        def keep(name: str, *shape: int) -> np.ndarray:
            """An array that a part of the model keeps until the backward pass."""
            if train:
                return take(*shape)
            size = int(np.prod(shape))
            if name not in shared or shared[name].size < size:
                shared[name] = take(size)
            return shared[name][:size].reshape(shape)

        self.stem, self.head = Stem(self, config, keep), Head(self, config, keep)
        self.token_mixing, self.channel_mixing = (
            [branch(self, config, keep) for _ in range(config.num_blocks if train else 1)]
            for branch in (TokenMixing, ChannelMixing)
        )
