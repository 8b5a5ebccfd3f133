"""Self-attention on copies whose heads lie in memory one after the other. To compare: `ops/self_attention.py`.

In (S, B, 3*C) a head's rows lie B*3*C numbers apart, and the small products of attention spend most of their time on
fetching them. So a few images' queries, keys and values are copied together, and everything else works in place.

The scores are transposed, a row for each key: then softmax's maxima and sums are taken over rows, number beside number,
which NumPy does three times as fast as along rows of 65. For the same reason no product has a right factor that is
transposed in memory.
"""

import numpy as np

from tinymixer.errors import ShapeError
from tinymixer.ops.shapes import expect_shape

SCORES = 1 << 16  # numbers in the scores of the images that are worked on together: 256 KiB in float32

Cache = tuple[np.ndarray, int]


def self_attention_forward(qkv: np.ndarray, heads: int) -> tuple[np.ndarray, Cache]:
    """qkv (S, B, 3*C)  ->  y (S, B, C), cache: qkv itself"""
    expect_shape("qkv", qkv, "S B 3C")
    tokens, images, channels = qkv.shape
    if heads < 1 or channels % (3 * heads):
        raise ShapeError(
            f"expected qkv of shape (S, B, 3C) whose C channels divide into {heads} heads, got {tuple(qkv.shape)}"
        )
    y = np.empty((tokens, images, heads, channels // (3 * heads)), qkv.dtype)  # (S, B, heads, D)
    for part in _parts(tokens, images, heads):
        q, k, v = _heads_together(qkv[:, part], 3, heads)  # (b, heads, S, D) each
        y[:, part] = (_weights(q, k).swapaxes(2, 3) @ v).transpose(2, 0, 1, 3)
    return y.reshape(tokens, images, channels // 3), (qkv, heads)


def self_attention_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """dy (S, B, C)  ->  dqkv (S, B, 3*C)"""
    qkv, heads = cache
    tokens, images, channels = qkv.shape
    expect_shape("dy", dy, "S B C", S=tokens, B=images, C=channels // 3)
    width = channels // (3 * heads)
    dqkv = np.empty((tokens, images, 3, heads, width), dy.dtype)  # (S, B, 3, heads, D)
    for part in _parts(tokens, images, heads):
        q, k, v = _heads_together(qkv[:, part], 3, heads)  # (b, heads, S, D) each
        (dy_heads,) = _heads_together(dy[:, part], 1, heads)  # (b, heads, S, D)
        gradients = np.empty((3, *q.shape), dy.dtype)  # (3, b, heads, S, D)
        a = _weights(q, k)  # (b, heads, keys, queries); q is divided by sqrt(D) now
        np.matmul(a, dy_heads, out=gradients[2])
        ds = v @ _transposed(dy_heads)  # (b, heads, keys, queries), da
        ds -= (ds * a).sum(axis=2, keepdims=True)
        ds *= a
        np.matmul(ds.swapaxes(2, 3), k, out=gradients[0])
        gradients[0] *= width**-0.5
        np.matmul(ds, q, out=gradients[1])
        dqkv[:, part] = gradients.transpose(3, 1, 0, 2, 4)
    return dqkv.reshape(tokens, images, channels)


def _parts(tokens: int, images: int, heads: int) -> list[slice]:
    """Slices of the images, of at most SCORES scores and an image at least."""
    step = max(1, SCORES // (heads * tokens * tokens))
    return [slice(start, min(start + step, images)) for start in range(0, images, step)]


def _heads_together(x: np.ndarray, parts: int, heads: int) -> np.ndarray:
    """x (S, b, parts*C)  ->  a copy (parts, b, heads, S, D)"""
    tokens, images, channels = x.shape
    split = x.reshape(tokens, images, parts, heads, channels // (parts * heads))  # (S, b, parts, heads, D)
    together = np.empty((parts, images, heads, tokens, split.shape[-1]), x.dtype)
    together[...] = split.transpose(2, 1, 3, 0, 4)
    return together


def _weights(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """softmax(q k^T / sqrt(D)), transposed: (b, heads, keys, queries), columns that sum to 1; q is divided in place."""
    q *= q.shape[-1] ** -0.5
    a = k @ _transposed(q)  # (b, heads, keys, queries)
    a -= a.max(axis=2, keepdims=True)
    np.exp(a, out=a)
    a *= 1.0 / a.sum(axis=2, keepdims=True)
    return a


def _transposed(x: np.ndarray) -> np.ndarray:
    """x (b, heads, S, D)  ->  a copy (b, heads, D, S)"""
    return np.ascontiguousarray(x.swapaxes(2, 3))
