"""Multi-head self-attention over the places of an image, which sees how far apart two places are.

This is the attention of BoTNet (Srinivas et al. 2021, arXiv 2101.11605, figure 4). Softmax, products and chunks of
images are those of `self_attention.py`; what is added here are the scores of relative positions. Images stay as
convolutions have them, (B, height, width, channels), and S = height * width places are numbered row by row.
"""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.self_attention import attention_backward, chunks, scaled, split_heads
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.softmax import softmax_forward


def relative_attention_forward(qkv: Array, r_height: Array, r_width: Array, heads: int) -> tuple[Array, Cache]:
    """Each place becomes a weighted mean of all places' values; the weights depend on content and on distance.

    qkv (B, height, width, 3*C): queries, keys and values, C = heads * D channels each
    r_height (2*height - 1, D), r_width (2*width - 1, D): a vector for each offset, the same for all heads and images
    ->  y (B, height, width, C)

        s[i, j] = q[i] . (k[j] + r[i, j]) / sqrt(D)        a = softmax(s)        y = a v
        r[i, j] = r_height[h_j - h_i + height - 1] + r_width[w_j - w_i + width - 1]

    for places i at (h_i, w_i) and j at (h_j, w_j) of an image. (Figure 4: q k^T + q r^T. Two tables in place of one
    vector for each offset are the "split" encodings of Ramachandran et al. 2019, arXiv 1906.05909.)

    q[i] . r[i, j] is a sum of height + width different numbers for each query, not S: a number for each row that j may
    stand in, and one for each column. They are made by two products and added to the scores in place (`_scores`).

    Raises ShapeError where the channels do not make three times `heads` heads, and for tables of other sizes.

    See: "relative_attention" in lessons/cheatsheet.md, tests/ops/test_relative_attention.py
    """
    xp = namespace(qkv)
    expect_shape("qkv", qkv, "B height width 3C")
    images, height, width, channels = qkv.shape
    if heads < 1 or channels % (3 * heads):
        raise ShapeError(
            f"expected qkv of shape (B, height, width, 3C) whose C channels divide into {heads} heads, "
            f"got {tuple(qkv.shape)}"
        )
    depth = channels // (3 * heads)
    expect_shape("r_height", r_height, "offsets D", offsets=2 * height - 1, D=depth)
    expect_shape("r_width", r_width, "offsets D", offsets=2 * width - 1, D=depth)
    down, across = _by_place(r_height), _by_place(r_width)  # (height, height, D), (width, width, D)
    y = xp.zeros((images, height * width, heads, depth), dtype=qkv.dtype)  # (B, S, heads, D)
    for part in chunks(height * width, images, heads):
        q, k, v = split_heads(_tokens(qkv[part]), heads)  # (b, heads, S, D) each
        a, _ = softmax_forward(_scores(scaled(q), k, down, across))  # (b, heads, S, S)
        y[part] = (a @ v).transpose(0, 2, 1, 3)  # (b, S, heads, D)
    return y.reshape(images, height, width, channels // 3), (qkv, r_height, r_width, heads)


def relative_attention_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """As in self-attention, and the scores of positions hand on their gradient ds, too. For one image and head:

        dq[i] = sum_j ds[i, j] (k[j] + r[i, j]) / sqrt(D)        dk[j] = sum_i ds[i, j] q[i] / sqrt(D)

        dr_height[o] = sum of ds[i, j] q[i] / sqrt(D) over all i, j with h_j - h_i + height - 1 = o

    and so for r_width. Images and heads share the tables, so their gradients are added up. An offset in height is the
    same for all columns that j may stand in, so ds is summed over those first: (S, height) numbers are left of (S, S).

    dy (B, height, width, C)  ->  dqkv (B, height, width, 3*C), dr_height (2*height - 1, D), dr_width (2*width - 1, D)
    """
    xp = namespace(dy)
    qkv, r_height, r_width, heads = cache
    images, height, width, channels = qkv.shape
    expect_shape("dy", dy, "B height width C", B=images, height=height, width=width, C=channels // 3)
    down, across = _by_place(r_height), _by_place(r_width)  # (height, height, D), (width, width, D)
    wide = statistics_dtype(dy)
    ddown, dacross = (xp.zeros(each.shape, dtype=wide) for each in (down, across))
    dqkv = xp.zeros((images, height * width, 3, heads, r_height.shape[1]), dtype=dy.dtype)  # (B, S, 3, heads, D)
    for part in chunks(height * width, images, heads):
        q, k, v = split_heads(_tokens(qkv[part]), heads)  # (b, heads, S, D) each
        (dy_heads,) = split_heads(_tokens(dy[part]), heads, parts=1)  # (b, heads, S, D)
        q = scaled(q)
        weights = softmax_forward(_scores(q, k, down, across))  # (b, heads, S, S), as in the forward
        dq, dk, dv, ds = attention_backward(dy_heads, q, k, v, weights)
        grid = q.reshape(*q.shape[:2], height, width, -1)  # (b, heads, height, width, D)
        ds = ds.reshape(*grid.shape[:4], height, width)
        ds_rows = xp.sum(ds, axis=5, dtype=wide)  # (b, heads, height, width, height): of all j in the same row
        ds_columns = xp.sum(ds, axis=4, dtype=wide).transpose(0, 1, 3, 2, 4)  # (b, heads, width, height, width)
        dgrid = ds_rows @ down + (ds_columns @ across).transpose(0, 1, 3, 2, 4)  # (b, heads, height, width, D)
        ddown += _summed(ds_rows, grid)
        dacross += _summed(ds_columns, grid.transpose(0, 1, 3, 2, 4))
        for place, gradient in enumerate((scaled(dq + dgrid.reshape(q.shape)), dk, dv)):
            dqkv[part, :, place] = gradient.transpose(0, 2, 1, 3)  # (b, S, heads, D)
    tables = (_by_offset(each).astype(dy.dtype, copy=False) for each in (ddown, dacross))
    return dqkv.reshape(qkv.shape), *tables


def _scores(q: Array, k: Array, down: Array, across: Array) -> Array:
    """q (divided by sqrt(D)) and k (b, heads, S, D), vectors by places from `_by_place`  ->  s (b, heads, S, S)"""
    height, width = down.shape[0], across.shape[0]
    grid = q.reshape(*q.shape[:2], height, width, -1)  # (b, heads, height, width, D)
    rows = grid @ down.transpose(0, 2, 1)  # (b, heads, height, width, height): the last axis goes over h_j
    columns = grid.transpose(0, 1, 3, 2, 4) @ across.transpose(0, 2, 1)  # (b, heads, width, height, width): w_j
    s = (q @ k.transpose(0, 1, 3, 2)).reshape(*grid.shape[:4], height, width)
    s += rows[..., None]
    s += columns.transpose(0, 1, 3, 2, 4)[..., None, :]
    return s.reshape(*q.shape[:3], height * width)


def _by_place(table: Array) -> Array:
    """table (2*n - 1, D)  ->  (n, n, D), whose [i, j] is the vector of the offset j - i: table[j - i + n - 1]"""
    n = (table.shape[0] + 1) // 2
    return namespace(table).stack([table[n - 1 - i : 2 * n - 1 - i] for i in range(n)])


def _by_offset(dvectors: Array) -> Array:
    """The transpose of `_by_place`: (n, n, D)  ->  (2*n - 1, D), the sums over all i, j of the same offset."""
    n, _, depth = dvectors.shape
    dtable = namespace(dvectors).zeros((2 * n - 1, depth), dtype=dvectors.dtype)
    for i in range(n):
        dtable[n - 1 - i : 2 * n - 1 - i] += dvectors[i]
    return dtable


def _summed(ds: Array, grid: Array) -> Array:
    """ds (b, heads, n, m, n), queries (b, heads, n, m, D)  ->  (n, n, D), summed over images, heads and the m places"""
    return namespace(ds).sum(ds.transpose(0, 1, 2, 4, 3) @ grid, axis=(0, 1))


def _tokens(x: Array) -> Array:
    """x (b, height, width, channels)  ->  view (S, b, channels), as self-attention has its tokens"""
    images, height, width, channels = x.shape
    return x.reshape(images, height * width, channels).transpose(1, 0, 2)
