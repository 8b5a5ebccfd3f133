"""Multi-head self-attention between its two Linears: queries, keys and values come in, mixed values go out.

**Token-major.** Activations are (S, B, C) here as everywhere in tinymixer, and a head's D = C / heads channels lie
beside each other. The products of attention are per image and head, so they are batched products on views of that
memory, (B, heads, S, D): `reshape` and `transpose` copy nothing, and both array libraries multiply such views.

**Memory.** The scores of a batch are an array (B, heads, S, S), for many tokens the largest of the whole network. It is
never made. Scores are made for a few images at a time (`chunks`), used and dropped, and the backward pass makes them
again from queries and keys. So the cache is the input alone, as in FlashAttention (Dao et al. 2022, arXiv 2205.14135,
section 3.1), and a chunk stays in a processor's cache. The price is one product of six, and one softmax, done twice.
"""

from collections.abc import Iterator

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.softmax import softmax_backward, softmax_forward

CHUNK = 1 << 15  # numbers in the scores of one chunk: 128 kB in float32, small beside a core's second-level cache
MOST_CHUNKS = 8  # of a large batch: each costs a dozen calls, which are dear on a GPU


def self_attention_forward(qkv: Array, heads: int) -> tuple[Array, Cache]:
    """Each token of an image becomes a weighted mean of all tokens' values, in each head with weights of its own.

    qkv (S, B, 3*C): queries, keys and values, C channels each; C = heads * D  ->  y (S, B, C)

        a = softmax(q k^T / sqrt(D))        y = a v        for each image and head: q, k, v (S, D), a (S, S)

    (Vaswani et al. 2017, eq. 1; ViT, eqs. 6 to 8 without U_qkv and U_msa, which are Linears.) The scores have the
    variance of a sum of D products, and dividing by sqrt(D) keeps the softmax from one-hot rows at the start.

    Raises ShapeError where the channels do not make three times `heads` heads.

    See: lessons/14_attention.ipynb, "self_attention" in lessons/cheatsheet.md, tests/ops/test_self_attention.py
    """
    xp = namespace(qkv)
    expect_shape("qkv", qkv, "S B 3C")
    tokens, images, channels = qkv.shape
    if heads < 1 or channels % (3 * heads):
        raise ShapeError(
            f"expected qkv of shape (S, B, 3C) whose C channels divide into {heads} heads, got {tuple(qkv.shape)}"
        )
    width = channels // (3 * heads)
    y = xp.zeros((tokens, images, heads, width), dtype=qkv.dtype)  # (S, B, heads, D)
    for part in chunks(tokens, images, heads):
        q, k, v = split_heads(qkv[:, part], heads)  # (b, heads, S, D) each
        a, _ = softmax_forward(scaled(q) @ k.transpose(0, 1, 3, 2))  # (b, heads, S, S)
        y[:, part] = (a @ v).transpose(2, 0, 1, 3)  # (S, b, heads, D)
    return y.reshape(tokens, images, heads * width), (qkv, heads)


def self_attention_backward(dy: Array, cache: Cache) -> Array:
    """The forward's two products and its softmax, backwards, for each image and head (`attention_backward`).

    q, k and v are slices of qkv, so their gradients are the same slices of dqkv. The factor 1 / sqrt(D) stands before
    q in the forward, and before its gradient here.

    dy (S, B, C)  ->  dqkv (S, B, 3*C)
    """
    xp = namespace(dy)
    qkv, heads = cache
    tokens, images, channels = qkv.shape
    expect_shape("dy", dy, "S B C", S=tokens, B=images, C=channels // 3)
    dqkv = xp.zeros((tokens, images, 3, heads, channels // (3 * heads)), dtype=dy.dtype)  # (S, B, 3, heads, D)
    for part in chunks(tokens, images, heads):
        q, k, v = split_heads(qkv[:, part], heads)  # (b, heads, S, D) each
        (dy_heads,) = split_heads(dy[:, part], heads, parts=1)  # (b, heads, S, D)
        q = scaled(q)
        weights = softmax_forward(q @ k.transpose(0, 1, 3, 2))  # (b, heads, S, S), as in the forward
        dq, dk, dv, _ = attention_backward(dy_heads, q, k, v, weights)  # (b, heads, S, D) each
        for place, gradient in enumerate((scaled(dq), dk, dv)):
            dqkv[:, part, place] = gradient.transpose(2, 0, 1, 3)  # (S, b, heads, D)
    return dqkv.reshape(tokens, images, channels)


def attention_backward(
    dy: Array, q: Array, k: Array, v: Array, weights: tuple[Array, Cache]
) -> tuple[Array, Array, Array, Array]:
    """The gradients of a few images' queries, keys, values and scores, all heads first:

        da = dy v^T        dv = a^T dy        since y = a v
        ds = softmax_backward(da)             since a = softmax(s)
        dq = ds k          dk = ds^T q        since s = q k^T, with q divided by sqrt(D) already

    weights   a (b, heads, S, S) and its cache, as softmax returned them

    dy, q, k, v (b, heads, S, D)  ->  dq, dk, dv (b, heads, S, D), ds (b, heads, S, S)
    """
    a, softmax_cache = weights
    ds = softmax_backward(dy @ v.transpose(0, 1, 3, 2), softmax_cache)  # (b, heads, S, S)
    return ds @ k, ds.transpose(0, 1, 3, 2) @ q, a.transpose(0, 1, 3, 2) @ dy, ds


def chunks(tokens: int, images: int, heads: int) -> Iterator[slice]:
    """Slices of the images: of at most CHUNK scores, but no more than MOST_CHUNKS slices, of an image at least."""
    step = max(1, CHUNK // (heads * tokens * tokens), -(-images // MOST_CHUNKS))
    return (slice(start, min(start + step, images)) for start in range(0, images, step))


def split_heads(x: Array, heads: int, parts: int = 3) -> list[Array]:
    """x (S, b, parts*C)  ->  views (b, heads, S, D), one for each part: queries, keys and values"""
    tokens, images, channels = x.shape
    split = x.reshape(tokens, images, parts, heads, channels // (parts * heads))  # (S, b, parts, heads, D)
    return [split[:, :, part].transpose(1, 2, 0, 3) for part in range(parts)]


def scaled(x: Array) -> Array:
    """x / sqrt(D). It is applied to queries, which are fewer numbers than the scores where S > D."""
    return x * float(x.shape[-1] ** -0.5)
