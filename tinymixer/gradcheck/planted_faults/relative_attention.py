"""Mistakes in self-attention with relative positions: which offset, which table, and whose gradient."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _qkv_and_tables(generator: np.random.Generator) -> tuple[Any, ...]:
    """An image of 2 x 2 places, two heads of one channel: both tables have the same shape."""
    return generator.normal(size=(1, 2, 2, 6)), generator.normal(size=(3, 1)), generator.normal(size=(3, 1)), 2


@fault("relative_attention", _qkv_and_tables)
def offsets_counted_backwards(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The tables' gradients go to the offset from key to query, h_i - h_j, where the forward took h_j - h_i."""
    dqkv, dr_height, dr_width = ops.relative_attention_backward(dy, cache)
    return dqkv, dr_height[::-1].copy(), dr_width[::-1].copy()


@fault("relative_attention", _qkv_and_tables)
def rows_taken_for_columns(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The gradients of the two tables stand in each other's place, which square images let through."""
    dqkv, dr_height, dr_width = ops.relative_attention_backward(dy, cache)
    return dqkv, dr_width, dr_height


@fault("relative_attention", _qkv_and_tables)
def tables_trained_by_the_first_head_only(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The tables receive the first head's gradient, though all heads share them."""
    first = dy.copy()
    first[..., dy.shape[-1] // cache[3] :] = 0
    return ops.relative_attention_backward(dy, cache)[0], *ops.relative_attention_backward(first, cache)[1:]


@fault("relative_attention", _qkv_and_tables)
def queries_blind_to_positions(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Queries receive a gradient from the keys they met, and none from the relative positions."""
    dqkv, dr_height, dr_width = ops.relative_attention_backward(dy, cache)
    qkv, r_height, r_width, heads = cache
    images, height, width, channels = qkv.shape
    places, depth = height * width, channels // (3 * heads)
    q, k, v = qkv.reshape(images, places, 3, heads, depth).transpose(2, 0, 3, 1, 4)  # (B, heads, S, D) each
    rows, columns = np.divmod(np.arange(places), width)
    r = r_height[rows - rows[:, None] + height - 1] + r_width[columns - columns[:, None] + width - 1]  # (S, S, D)
    _, softmax_cache = ops.softmax_forward((q @ k.swapaxes(-1, -2) + np.einsum("bnid,ijd->bnij", q, r)) / depth**0.5)
    dout = dy.reshape(images, places, heads, depth).transpose(0, 2, 1, 3)
    ds = ops.softmax_backward(dout @ v.swapaxes(-1, -2), softmax_cache) / depth**0.5  # (B, heads, S, S)
    dqkv = dqkv.reshape(images, places, 3, heads, depth)
    dqkv[:, :, 0] -= np.einsum("bnij,ijd->bind", ds, r)
    return dqkv.reshape(qkv.shape), dr_height, dr_width
