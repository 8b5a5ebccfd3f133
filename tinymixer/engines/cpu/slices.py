"""How many images a thread works on at a time."""

from dataclasses import dataclass

from tinymixer.engines.cpu.cache import Cache
from tinymixer.models.mixer_config import MixerConfig

# With slices of 8 to 32 images of 64 tokens a training step takes the same time, to a few per cent. Shorter slices need
# more calls, during which threads wait for the interpreter lock; longer ones take more memory.
FEWEST_TOKENS, MOST_TOKENS = 256, 1024
FORWARD_TOKENS = 2048
STREAM_SHARE = 8  # in a forward pass alone, the residual stream may fill 1 / 8 of the cache
UNKNOWN_CACHE = 16 << 20


@dataclass(frozen=True)
class SliceSize:
    """Images in a slice, in a training step and in a forward pass alone, and a clause that gives the reason."""

    images: int
    forward_images: int
    reason: str


def choose_slice(config: MixerConfig, itemsize: int, cache: Cache | None) -> SliceSize:
    """As many images as make MOST_TOKENS, or fewer if a branch's activations would not fit in a thread's cache.

    cache   the largest that a thread has; None where it is not known. A slice has at least FEWEST_TOKENS even if they
            do not fit: below that, loading the weights and adding up their gradients costs more than the cache saves

    A forward pass takes up to FORWARD_TOKENS, as long as its residual stream fits in an eighth of the cache.
    """
    most, fewest, longest = (
        max(1, tokens // config.num_tokens) for tokens in (MOST_TOKENS, FEWEST_TOKENS, FORWARD_TOKENS)
    )
    stream_bytes = config.num_tokens * config.hidden_dim * itemsize  # of the residual stream, for an image
    cache_bytes = UNKNOWN_CACHE if cache is None else cache.share
    forward = max(fewest, min(longest, cache_bytes // STREAM_SHARE // stream_bytes))
    if cache is None:
        return SliceSize(most, forward, f"{MOST_TOKENS} tokens, since the cache's size is not known")
    branch_bytes = branch_numbers(config) * itemsize  # for an image
    fitting = cache.share // branch_bytes
    images = max(fewest, min(most, fitting))
    reason = f"{branch_bytes * images / 2**20:.3g} MiB in a branch, for {cache}"
    if fitting < fewest:
        return SliceSize(images, forward, f"{reason}; fewer would be slower")
    return SliceSize(images, forward, reason if fitting < most else f"{reason}; more would not be faster")


def branch_numbers(config: MixerConfig) -> int:
    """Numbers that a part of the model reads and writes for an image: the largest of the two branches and the stem."""
    S, C, DS, DC = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
    token_mixing = 4 * S * C + 2 * DS * C  # x, x_hat, its gradient, the branch; the hidden layer and GELU's slope
    channel_mixing = 3 * S * C + 2 * S * DC  # x, x_hat, the branch; the hidden layer and GELU's slope
    stem = S * config.patch_features + S * C  # patches or overlapping windows, and x
    return max(token_mixing, channel_mixing, stem)
