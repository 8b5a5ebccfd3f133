"""How many images a thread works on at a time."""

from dataclasses import dataclass

from tinymixer.sliced.cache import Cache

# Between 4 and 32 images of 64 tokens a step takes the same time to a few per cent; longer slices take more memory.
FEWEST_TOKENS, MOST_TOKENS = 256, 512


@dataclass(frozen=True)
class SliceSize:
    """Images in a slice, and a clause that says why so many."""

    images: int
    reason: str


def choose_slice(config, itemsize, cache: Cache | None) -> SliceSize:
    """As many images as make MOST_TOKENS, or fewer if a branch's activations would not fit in a thread's cache.

    cache   the largest a thread has, None where it is not known. It is not obeyed below FEWEST_TOKENS: in shorter
            slices, what it costs to fetch the weights and to add up their gradients is more than the cache saves.
    """
    most, fewest = (max(1, tokens // config.tokens) for tokens in (MOST_TOKENS, FEWEST_TOKENS))
    if cache is None:
        return SliceSize(most, f"{MOST_TOKENS} tokens, since the cache's size is not known")
    an_image = branch_numbers(config) * itemsize
    fitting = cache.share // an_image
    images = max(fewest, min(most, fitting))
    reason = f"{an_image * images / 2**20:.3g} MiB in a branch, for {cache}"
    if fitting < fewest:
        return SliceSize(images, f"{reason}; fewer would be slower")
    return SliceSize(images, reason if fitting < most else f"{reason}; more would not be faster")


def branch_numbers(config):
    """Numbers that a branch of a block goes through for an image: the larger of token and channel mixing."""
    S, C, DS, DC = config.tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim
    token_mixing = 4 * S * C + 2 * DS * C  # x, x_hat, normed x_hat, the branch; the hidden layer and GELU's slope
    channel_mixing = 3 * S * C + 2 * S * DC  # x, x_hat, the branch; the hidden layer and GELU's slope
    return max(token_mixing, channel_mixing)
