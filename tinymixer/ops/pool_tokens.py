"""Average pooling over the grid of patches: token mixing without a parameter (Yu et al. 2022, arXiv 2111.11418)."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def pool_tokens_forward(x: Array, grid: tuple[int, int]) -> tuple[Array, Cache]:
    """Replace each token by the mean of its neighbourhood, minus the token itself (PoolFormer, section 3.2).

    x (S, B, C), grid (down, across) with down * across = S, tokens row by row  ->  y (S, B, C)

        y[s] = 1/n[s] * sum_{t near s} x[t]  -  x[s]

    "t near s" means that t is one of the 3 x 3 patches around s, s itself included. n[s] is their number: 9, or fewer
    at the border of the image. x[s] is subtracted because the block's residual connection adds it again, which leaves
    the mean.

    Raises ShapeError unless down * across is the number of tokens.

    See: lessons/08_token_mixing.ipynb, "pool_tokens" in lessons/cheatsheet.md, tests/ops/test_pool_tokens.py
    """
    xp = namespace(x)
    down, across = grid
    expect_shape("x", x, "S B C")
    if down * across != x.shape[0]:
        raise ShapeError(f"a grid of {down} x {across} patches has {down * across} tokens, got x with S={x.shape[0]}")
    wide = statistics_dtype(x)
    images_and_channels = tuple(x.shape[1:])
    counts = _sum_of_neighbours(xp.zeros((down, across, 1, 1), dtype=wide) + 1)  # (down, across, 1, 1)
    sums = _sum_of_neighbours(x.astype(wide).reshape(down, across, *images_and_channels))  # (down, across, B, C)
    means = (sums / counts).reshape(x.shape)  # (S, B, C)
    return (means - x).astype(x.dtype, copy=False), counts


def pool_tokens_backward(dy: Array, cache: Cache) -> Array:
    """x[t] enters y[s] with weight 1/n[s] for every s near t, and y[t] once more with weight -1. So

        dx[t] = sum_{s near t} dy[s] / n[s]  -  dy[t]

    Each dy[s] is divided by the n of its own token s, so the division comes before the sum here.

    dy (S, B, C)  ->  dx (S, B, C)
    """
    counts = cache
    down, across = counts.shape[:2]
    expect_shape("dy", dy, "S B C", S=down * across)
    images_and_channels = tuple(dy.shape[1:])
    shares = dy.astype(counts.dtype).reshape(down, across, *images_and_channels) / counts  # (down, across, B, C)
    dx = _sum_of_neighbours(shares).reshape(dy.shape) - dy  # (S, B, C)
    return dx.astype(dy.dtype, copy=False)


def _sum_of_neighbours(x: Array) -> Array:
    """For each place in the grid, the sum over the 3 x 3 places around it: first over rows, then over columns.

    x (down, across, ...)  ->  sums (down, across, ...)
    """
    rows = x.copy()
    rows[1:] += x[:-1]  # the row above
    rows[:-1] += x[1:]  # the row below
    sums = rows.copy()
    sums[:, 1:] += rows[:, :-1]  # the column to the left
    sums[:, :-1] += rows[:, 1:]  # the column to the right
    return sums
