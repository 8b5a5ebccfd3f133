"""relative_attention: self-attention over the places of an image whose scores know how far apart two places are."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(6)
module = importlib.import_module("tinymixer.ops.relative_attention")
self_attention = importlib.import_module("tinymixer.ops.self_attention")


def drawn(images, height, width, heads, depth):
    qkv = RNG.standard_normal((images, height, width, 3 * heads * depth))
    return qkv, RNG.standard_normal((2 * height - 1, depth)), RNG.standard_normal((2 * width - 1, depth)), heads


def naive(qkv, r_height, r_width, heads):
    """One image, head and place at a time."""
    images, height, width, channels = qkv.shape
    places = [(row, column) for row in range(height) for column in range(width)]
    parts = qkv.reshape(images, height, width, 3, heads, channels // (3 * heads))
    y = np.zeros((images, height, width, *parts.shape[4:]))
    for b in range(images):
        for n in range(heads):
            q, k, v = (parts[b, :, :, part, n] for part in range(3))  # (height, width, D) each
            for i in places:
                r = [r_height[j[0] - i[0] + height - 1] + r_width[j[1] - i[1] + width - 1] for j in places]
                scores = [q[i] @ (k[j] + r_ij) / np.sqrt(q.shape[-1]) for j, r_ij in zip(places, r, strict=True)]
                weights = np.exp(scores)
                y[(b, *i, n)] = weights @ [v[j] for j in places] / weights.sum()
    return y.reshape(images, height, width, -1)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    images=st.integers(1, 2), height=st.integers(1, 3), width=st.integers(1, 4), heads=st.integers(1, 2),
    depth=st.integers(1, 3),
)  # fmt: skip
def test_values_are_those_of_naive_loops(images, height, width, heads, depth):
    inputs = drawn(images, height, width, heads, depth)
    y, _ = ops.relative_attention_forward(*inputs)
    np.testing.assert_allclose(y, naive(*inputs), rtol=1e-11, atol=1e-13)


def test_without_positions_it_is_self_attention_with_its_gradient():
    qkv, r_height, r_width, heads = drawn(3, 2, 4, 2, 3)
    dy = RNG.standard_normal((3, 2, 4, 6))
    y, cache = ops.relative_attention_forward(qkv, 0 * r_height, 0 * r_width, heads)
    plain, plain_cache = ops.self_attention_forward(qkv.reshape(3, 8, 18).transpose(1, 0, 2), heads)
    np.testing.assert_allclose(y.reshape(3, 8, 6).transpose(1, 0, 2), plain, rtol=1e-12)
    dqkv = ops.relative_attention_backward(dy, cache)[0]
    expected = ops.self_attention_backward(dy.reshape(3, 8, 6).transpose(1, 0, 2), plain_cache)
    np.testing.assert_allclose(dqkv.reshape(3, 8, 18).transpose(1, 0, 2), expected, rtol=1e-11, atol=1e-14)


def test_a_place_finds_its_neighbour_by_the_offset_alone():
    """Queries that ask for "one row down, two columns left" move the whole image, whatever stands in it."""
    height, width, depth = 4, 5, 2
    values = RNG.standard_normal((1, height, width, depth))
    queries, keys = np.full_like(values, 100.0), np.zeros_like(values)
    r_height, r_width = np.zeros((2 * height - 1, depth)), np.zeros((2 * width - 1, depth))
    r_height[height - 1 + 1] = r_width[width - 1 - 2] = 10
    y, _ = ops.relative_attention_forward(np.concatenate([queries, keys, values], axis=-1), r_height, r_width, 1)
    np.testing.assert_allclose(y[:, :-1, 2:], values[:, 1:, :-2], rtol=1e-12)


@pytest.mark.parametrize("sizes", [(2, 2, 3, 2, 1), (1, 1, 1, 1, 2), (1, 3, 1, 2, 2)])
def test_the_gradient_is_right(sizes):
    check_operation(ops.relative_attention_forward, ops.relative_attention_backward, *drawn(*sizes)).raise_if_failed()


def test_chunks_of_images_change_nothing_and_no_array_has_the_scores_of_the_batch(monkeypatch):
    inputs, dy = drawn(5, 2, 3, 2, 2), RNG.standard_normal((5, 2, 3, 4))
    whole, cache = ops.relative_attention_forward(*inputs)
    gradients = ops.relative_attention_backward(dy, cache)
    seen = []

    def watched(scores):
        seen.append(scores.shape)
        return ops.softmax_forward(scores)

    monkeypatch.setattr(module, "softmax_forward", watched)
    monkeypatch.setattr(self_attention, "CHUNK", 2 * 2 * 6 * 6 + 1)  # two images of five
    y, cache = ops.relative_attention_forward(*inputs)
    np.testing.assert_array_equal(y, whole)
    for ours, expected in zip(ops.relative_attention_backward(dy, cache), gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    assert seen == [(2, 2, 6, 6), (2, 2, 6, 6), (1, 2, 6, 6)] * 2
    kept = [part for part in cache if isinstance(part, np.ndarray)]
    assert all(one is other for one, other in zip(kept, inputs[:3], strict=True))  # the cache is the inputs alone


def test_wrong_shapes_are_said():
    qkv, r_height, r_width, heads = drawn(2, 3, 2, 2, 2)
    with pytest.raises(ShapeError, match=r"C channels divide into 5 heads, got \(2, 3, 2, 12\)"):
        ops.relative_attention_forward(qkv, r_height, r_width, 5)
    with pytest.raises(ShapeError, match=r"expected qkv of shape \(B, height, width, 3C\), got \(3, 2, 12\)"):
        ops.relative_attention_forward(qkv[0], r_height, r_width, heads)
    with pytest.raises(
        ShapeError, match=r"expected r_height of shape \(offsets, D\) with offsets=5, D=2, got \(3, 2\)"
    ):
        ops.relative_attention_forward(qkv, r_width, r_height, heads)
    with pytest.raises(ShapeError, match=r"expected r_width of shape \(offsets, D\) with offsets=3, D=2, got \(3, 1\)"):
        ops.relative_attention_forward(qkv, r_height, r_width[:, :1], heads)
    _, cache = ops.relative_attention_forward(qkv, r_height, r_width, heads)
    with pytest.raises(
        ShapeError, match=r"expected dy of shape \(B, height, width, C\) with .*C=4, got \(2, 3, 2, 12\)"
    ):
        ops.relative_attention_backward(qkv, cache)
