"""The mean over tokens before the head (global average pooling)."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def mean_over_tokens_forward(x: Array) -> tuple[Array, Cache]:
    """Average the tokens of each image.

    x (S, B, C)  ->  y (B, C)

        y = 1/S * sum_s x[s]

    Raises ShapeError unless x has three axes.

    See: lessons/09_mixer.ipynb, "mean_over_tokens" in lessons/cheatsheet.md, tests/ops/test_mean_over_tokens.py
    """
    xp = namespace(x)
    expect_shape("x", x, "S B C")
    y = xp.mean(x, axis=0, dtype=statistics_dtype(x)).astype(x.dtype, copy=False)  # (B, C)
    return y, x.shape


def mean_over_tokens_backward(dy: Array, cache: Cache) -> Array:
    """Every token has weight 1/S in the mean, so all receive the same gradient:

        dx[s] = dy / S

    dy (B, C)  ->  dx (S, B, C)
    """
    xp = namespace(dy)
    tokens, images, channels = cache
    expect_shape("dy", dy, "B C", B=images, C=channels)
    return xp.broadcast_to(dy / tokens, (tokens, images, channels)).copy()
