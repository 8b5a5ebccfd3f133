"""Learned position embeddings: a vector for each place of the sequence, added to whatever token stands there."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def position_embedding_forward(x: Array, embedding: Array) -> tuple[Array, Cache]:
    """Add each token's position embedding, the same for all images (ViT, eq. 1: + E_pos).

    x (S, B, C), embedding (S, C)  ->  y (S, B, C)

        y[s, b] = x[s, b] + embedding[s]

    Attention treats its tokens as a set; without this it could not tell where a patch came from. Raises ShapeError when
    the embedding does not have one row per token and one column per channel.

    See: lessons/14_attention.ipynb, "position_embedding" in lessons/cheatsheet.md, tests/ops/test_position_embedding.py
    """
    expect_shape("x", x, "S B C")
    tokens, _, channels = x.shape
    expect_shape("embedding", embedding, "S C", S=tokens, C=channels)
    return x + embedding.reshape(tokens, 1, channels), x.shape  # (S, B, C)


def position_embedding_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """x is passed on as it is; every image shares the embedding, so its gradients are added up:

        dx[s, b] = dy[s, b]        dembedding[s] = sum_b dy[s, b]

    dy (S, B, C)  ->  dx (S, B, C), dembedding (S, C)
    """
    xp = namespace(dy)
    tokens, images, channels = cache
    expect_shape("dy", dy, "S B C", S=tokens, B=images, C=channels)
    dembedding = xp.sum(dy, axis=1, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)  # (S, C)
    return dy.copy(), dembedding
