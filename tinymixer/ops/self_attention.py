"""Multi-head self-attention between its two Linears: queries, keys and values come in, mixed values go out.

**Token-major.** Activations are (S, B, C) here as everywhere in tinymixer, and a head's D = C / heads channels lie
beside each other. The products of attention are per image and head, so they are batched products on views of that
memory, (B, heads, S, D): `reshape` and `transpose` copy nothing, and both array libraries multiply such views.

**Memory.** The scores of a batch are an array (B, heads, S, S), for many tokens the largest of the whole network. It is
never made. Scores are made for a few images at a time (`CHUNK`), used and dropped, and the backward pass makes them
again from queries and keys. So the cache is the input alone, as in FlashAttention (Dao et al. 2022, arXiv 2205.14135,
section 3.1), and a chunk stays in a processor's cache. The price is one product of six, and one softmax, done twice.
"""

from collections.abc import Iterator

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.softmax import softmax_backward, softmax_forward

CHUNK = 1 << 18  # numbers in the scores of one chunk, unless one image has more: 1 MB in float32


def self_attention_forward(qkv: Array, heads: int) -> tuple[Array, Cache]:
    """Each token of an image becomes a weighted mean of all tokens' values, in each head with weights of its own.

    qkv (S, B, 3*C): queries, keys and values, C channels each; C = heads * D  ->  y (S, B, C)

        a = softmax(q k^T / sqrt(D))        y = a v        for each image and head: q, k, v (S, D), a (S, S)

    (Vaswani et al. 2017, eq. 1; ViT, eqs. 6 to 8 without U_qkv and U_msa, which are Linears.) The scores have the
    variance of a sum of D products, and dividing by sqrt(D) keeps the softmax from one-hot rows at the start.

    Raises ShapeError where the channels do not make three times `heads` heads.

    See: "self_attention" in lessons/cheatsheet.md, tests/ops/test_self_attention.py
    """
    xp = namespace(qkv)
    expect_shape("qkv", qkv, "S B 3C")
    tokens, images, channels = qkv.shape
    if heads < 1 or channels % (3 * heads):
        raise ShapeError(
            f"expected qkv of shape (S, B, 3C) whose C channels divide into {heads} heads, got {tuple(qkv.shape)}"
        )
    y = xp.zeros((tokens, images, channels // 3), dtype=qkv.dtype)  # (S, B, C)
    for part in _chunks(tokens, images, heads):
        q, k, v = _heads(qkv[:, part], heads)  # (b, heads, S, D) each
        a, _ = softmax_forward(_scaled(q) @ k.transpose(0, 1, 3, 2))  # (b, heads, S, S)
        y[:, part] = _tokens(a @ v)  # (S, b, C)
    return y, (qkv, heads)


def self_attention_backward(dy: Array, cache: Cache) -> Array:
    """The forward's two products and its softmax, backwards, for each image and head:

        da = dy v^T        dv = a^T dy                        since y = a v
        ds = softmax_backward(da)                             since a = softmax(s)
        dq = ds k / sqrt(D)        dk = ds^T q / sqrt(D)      since s = q k^T / sqrt(D)

    q, k and v are slices of qkv, so their gradients are the same slices of dqkv.

    dy (S, B, C)  ->  dqkv (S, B, 3*C)
    """
    xp = namespace(dy)
    qkv, heads = cache
    tokens, images, channels = qkv.shape
    expect_shape("dy", dy, "S B C", S=tokens, B=images, C=channels // 3)
    dqkv = xp.zeros((tokens, images, 3, channels // 3), dtype=dy.dtype)  # (S, B, 3, C)
    for part in _chunks(tokens, images, heads):
        q, k, v = _heads(qkv[:, part], heads)  # (b, heads, S, D) each
        (dy_heads,) = _heads(dy[:, part], heads, parts=1)  # (b, heads, S, D)
        q = _scaled(q)
        a, softmax_cache = softmax_forward(q @ k.transpose(0, 1, 3, 2))  # (b, heads, S, S), as in the forward
        ds = softmax_backward(dy_heads @ v.transpose(0, 1, 3, 2), softmax_cache)  # (b, heads, S, S)
        dqkv[:, part, 0] = _tokens(_scaled(ds @ k))  # (S, b, C) each
        dqkv[:, part, 1] = _tokens(ds.transpose(0, 1, 3, 2) @ q)
        dqkv[:, part, 2] = _tokens(a.transpose(0, 1, 3, 2) @ dy_heads)
    return dqkv.reshape(tokens, images, channels)


def _chunks(tokens: int, images: int, heads: int) -> Iterator[slice]:
    """Slices of the images, each of as many as have at most CHUNK scores together, and at least one."""
    step = max(1, CHUNK // (heads * tokens * tokens))
    return (slice(start, min(start + step, images)) for start in range(0, images, step))


def _heads(x: Array, heads: int, parts: int = 3) -> list[Array]:
    """x (S, b, parts*C)  ->  views (b, heads, S, D), one for each part: queries, keys and values"""
    tokens, images, channels = x.shape
    split = x.reshape(tokens, images, parts, heads, channels // (parts * heads))  # (S, b, parts, heads, D)
    return [split[:, :, part].transpose(1, 2, 0, 3) for part in range(parts)]


def _tokens(x: Array) -> Array:
    """x (b, heads, S, D)  ->  (S, b, C), the heads' channels beside each other again"""
    images, heads, tokens, channels = x.shape
    return x.transpose(2, 0, 1, 3).reshape(tokens, images, heads * channels)


def _scaled(x: Array) -> Array:
    """x / sqrt(D). It is applied to queries, which are fewer numbers than the scores where S > D."""
    return x * float(x.shape[-1] ** -0.5)
