"""The buffers of one thread, made once and used for every slice: no page faults, and the cache stays warm."""

import numpy as np

CHUNK_ELEMENTS = 131072  # GELU works on so many activations at a time; fewer cost more calls than they save misses


class KeptActivations:
    """What a block keeps of a slice between forward and backward: S (3 C + 2 DC) + 2 DS C numbers an image.

    Without a backward pass the slopes are left out.
    """

    def __init__(self, config, images, dtype, forward_only):
        tokens, channels, rows = config.tokens, config.hidden_dim, config.tokens * images
        token_hidden, channel_hidden = (config.tokens_mlp_dim, images * channels), (rows, config.channels_mlp_dim)
        self.token_x_hat, self.token_normed = np.empty((rows, channels), dtype), np.empty((rows, channels), dtype)
        self.token_hidden, self.channel_hidden = np.empty(token_hidden, dtype), np.empty(channel_hidden, dtype)
        self.channel_lifted = np.empty((tokens * images, channels), dtype)  # x_hat + 1
        self.token_inv_std, self.channel_inv_std = np.empty(rows, dtype), np.empty(rows, dtype)
        self.token_slope = self.channel_slope = None
        if not forward_only:
            self.token_slope, self.channel_slope = np.empty(token_hidden, dtype), np.empty(channel_hidden, dtype)


class Workspace:
    """One thread's buffers for slices of so many images."""

    def __init__(self, config, images, dtype, forward_only=False):
        tokens, channels, rows = config.tokens, config.hidden_dim, config.tokens * images
        token_hidden, channel_hidden = config.tokens_mlp_dim, config.channels_mlp_dim
        self.shape = (tokens, images, channels)
        self.branch = np.empty((rows, channels), dtype)
        self.final_x_hat, self.final_inv_std = np.empty((rows, channels), dtype), np.empty(rows, dtype)
        self.row_scratch = np.empty(rows, dtype)
        # Rows of a hidden layer that GELU takes at a time.
        self.channel_rows = min(rows, max(1, CHUNK_ELEMENTS // (64 * channel_hidden)) * 64)
        self.token_rows = min(token_hidden, max(1, CHUNK_ELEMENTS // (images * channels)))
        chunk = max(self.channel_rows * channel_hidden, self.token_rows * images * channels)
        self.chunk = [np.empty(chunk, dtype) for _ in range(3)]
        largest = token_hidden * images * channels
        self.hidden = np.empty(largest if forward_only else max(rows * channel_hidden, largest), dtype)
        kept = 1 if forward_only else config.num_blocks
        self.blocks = [KeptActivations(config, images, dtype, forward_only) for _ in range(kept)]
        self.ones = np.ones(max(rows, images * channels), dtype)
        self.mean_over_channels = np.full(channels, 1 / channels, dtype)
        self.mean_over_tokens = np.full(tokens, 1 / tokens, dtype)
        if not forward_only:  # else x is handed in: it outlives the turn of a slice
            self.x = np.empty((rows, channels), dtype)
            self.dx, self.dbranch = np.empty((rows, channels), dtype), np.empty((rows, channels), dtype)
