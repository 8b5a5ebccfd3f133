"""Average pooling over the grid of patches: token mixing without a parameter (Yu et al. 2022, arXiv 2111.11418)."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def pool_tokens_forward(x: Array, grid: tuple[int, int]) -> tuple[Array, Cache]:
    """Give each token the mean of its neighbourhood, less itself (PoolFormer, section 3.2).

    x (S, B, C), grid (down, across) with down * across = S, tokens row by row  ->  y (S, B, C)

        y[s] = 1/n[s] * sum_{t near s} x[t]  -  x[s]

    Near s are the tokens of the 3 x 3 patches around s, s among them. At the border there are fewer: n[s] counts those
    that exist, so that nothing outside of the image enters the mean. x[s] is taken off because a block adds x again
    ("the residual"), which leaves the mean itself.

    Raises ShapeError when the grid has not as many places as x has tokens.

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
    """x[t] is in the mean of every s that it is near to, with the weight 1/n[s], and in -x[t]. "Near" is mutual, so

        dx[t] = sum_{s near t} dy[s] / n[s]  -  dy[t]

    The division now comes before the sum: it is the n of the token that received the mean.

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
    """The sum over the 3 x 3 places around each: first over three rows, then over three columns.

    x (down, across, ...)  ->  sums (down, across, ...)
    """
    rows = x.copy()
    rows[1:] += x[:-1]  # the row above
    rows[:-1] += x[1:]  # the row below
    sums = rows.copy()
    sums[:, 1:] += rows[:, :-1]  # the column to the left
    sums[:, :-1] += rows[:, 1:]  # the column to the right
    return sums
