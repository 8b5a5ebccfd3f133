"""How many images a thread works on at a time."""

from dataclasses import dataclass

from tinymixer.engines.cpu.cache import Cache
from tinymixer.models.mixer_config import MixerConfig

# Between 8 and 32 images of 64 tokens a training step takes the same time to a few per cent. Shorter slices cost calls,
# and threads that wait for the interpreter; longer ones take more memory.
FEWEST_TOKENS, MOST_TOKENS = 256, 1024
FORWARD_TOKENS = 2048
STREAM_SHARE = 8  # a forward pass keeps little but the stream of activations, which may fill this part of the cache
UNKNOWN_CACHE = 16 << 20


@dataclass(frozen=True)
class SliceSize:
    """Images in a slice of a training step and of a forward pass alone, and a clause that says why so many."""

    images: int
    forward_images: int
    reason: str


def choose_slice(config: MixerConfig, itemsize: int, cache: Cache | None) -> SliceSize:
    """As many images as make MOST_TOKENS, or fewer if a branch's activations would not fit in a thread's cache.

    cache   the largest a thread has, None where it is not known. It is not obeyed below FEWEST_TOKENS: in shorter
            slices, what it costs to fetch the weights and to add up their gradients is more than the cache saves.

    A forward pass takes up to FORWARD_TOKENS, as long as its stream fits in an eighth of the cache.
    """
    most, fewest, longest = (
        max(1, tokens // config.num_tokens) for tokens in (MOST_TOKENS, FEWEST_TOKENS, FORWARD_TOKENS)
    )
    stream = config.num_tokens * config.hidden_dim * itemsize  # bytes an image
    room = UNKNOWN_CACHE if cache is None else cache.share
    forward = max(fewest, min(longest, room // STREAM_SHARE // stream))
    if cache is None:
        return SliceSize(most, forward, f"{MOST_TOKENS} tokens, since the cache's size is not known")
    an_image = branch_numbers(config) * itemsize
    fitting = cache.share // an_image
    images = max(fewest, min(most, fitting))
    reason = f"{an_image * images / 2**20:.3g} MiB in a branch, for {cache}"
    if fitting < fewest:
        return SliceSize(images, forward, f"{reason}; fewer would be slower")
    return SliceSize(images, forward, reason if fitting < most else f"{reason}; more would not be faster")


def branch_numbers(config: MixerConfig) -> int:
    """Numbers that a branch of a block goes through for an image: the larger of token and channel mixing."""
    S, C, DS, DC = config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
    token_mixing = 4 * S * C + 2 * DS * C  # x, x_hat, its gradient, the branch; the hidden layer and GELU's slope
    channel_mixing = 3 * S * C + 2 * S * DC  # x, x_hat, the branch; the hidden layer and GELU's slope
    return max(token_mixing, channel_mixing)
