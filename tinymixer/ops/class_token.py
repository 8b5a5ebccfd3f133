"""The class token: a learned token put before the patches, whose state after the last block stands for the image."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def prepend_class_token_forward(x: Array, token: Array) -> tuple[Array, Cache]:
    """Put the same token before the tokens of every image (ViT, eq. 1: [x_class; ...]).

    x (S, B, C), token (C,)  ->  y (S+1, B, C)

        y[0, b] = token        y[s+1, b] = x[s, b]

    Raises ShapeError when the token does not have one number per channel.

    See: lessons/14_attention.ipynb, "prepend_class_token" in lessons/cheatsheet.md,
    tests/ops/test_prepend_class_token.py
    """
    xp = namespace(x)
    expect_shape("x", x, "S B C")
    _, images, channels = x.shape
    expect_shape("token", token, "C", C=channels)
    first = xp.broadcast_to(token, (1, images, channels))  # (1, B, C)
    return xp.concatenate([first, x], axis=0), x.shape  # (S+1, B, C)


def prepend_class_token_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The tokens go back to their places; every image has the same class token, so its gradients are added up:

        dx[s, b] = dy[s+1, b]        dtoken = sum_b dy[0, b]

    dy (S+1, B, C)  ->  dx (S, B, C), dtoken (C,)
    """
    xp = namespace(dy)
    tokens, images, channels = cache
    expect_shape("dy", dy, "S B C", S=tokens + 1, B=images, C=channels)
    dtoken = xp.sum(dy[0], axis=0, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)  # (C,)
    return dy[1:].copy(), dtoken


def take_class_token_forward(x: Array) -> tuple[Array, Cache]:
    """The first token of every image, which the head classifies (ViT, eq. 4: z_L^0).

    x (S, B, C)  ->  y (B, C)

        y[b] = x[0, b]

    Raises ShapeError unless x has three axes.

    See: lessons/14_attention.ipynb, "take_class_token" in lessons/cheatsheet.md, tests/ops/test_take_class_token.py
    """
    expect_shape("x", x, "S B C")
    return x[0].copy(), x.shape  # (B, C)


def take_class_token_backward(dy: Array, cache: Cache) -> Array:
    """The other tokens do not reach y, so their gradient is zero:

        dx[0, b] = dy[b]        dx[s, b] = 0 for s > 0

    dy (B, C)  ->  dx (S, B, C)
    """
    xp = namespace(dy)
    tokens, images, channels = cache
    expect_shape("dy", dy, "B C", B=images, C=channels)
    dx = xp.zeros((tokens, images, channels), dtype=dy.dtype)  # (S, B, C)
    dx[0] = dy
    return dx
