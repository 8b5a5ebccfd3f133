"""self_attention: each token a weighted mean of all tokens' values, in several heads."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(4)
module = importlib.import_module("tinymixer.ops.self_attention")


def naive(qkv, heads):
    """One image, head and token at a time."""
    S, B, width = qkv.shape
    C = width // 3
    D = C // heads
    y = np.zeros((S, B, C), qkv.dtype)
    for b in range(B):
        for h in range(heads):
            q, k, v = (qkv[:, b, part * C + h * D : part * C + (h + 1) * D] for part in range(3))  # (S, D) each
            for s in range(S):
                weights = np.exp([q[s] @ k[t] / np.sqrt(D) for t in range(S)])
                y[s, b, h * D : (h + 1) * D] = sum(weights[t] * v[t] for t in range(S)) / weights.sum()
    return y


@settings(deadline=None, max_examples=25)
@given(tokens=st.integers(1, 5), images=st.integers(1, 4), heads=st.integers(1, 3), width=st.integers(1, 4))
def test_values_are_those_of_naive_loops(tokens, images, heads, width):
    qkv = RNG.standard_normal((tokens, images, 3 * heads * width))
    y, _ = ops.self_attention_forward(qkv, heads)
    np.testing.assert_allclose(y, naive(qkv, heads), rtol=1e-11, atol=1e-13)


def test_equal_keys_make_the_mean_of_the_values():
    qkv = RNG.standard_normal((5, 2, 12))
    qkv[..., 4:8] = 1  # the keys
    y, _ = ops.self_attention_forward(qkv, 2)
    np.testing.assert_allclose(y, np.broadcast_to(qkv[..., 8:].mean(axis=0), y.shape), rtol=1e-13)


def test_the_order_of_the_tokens_only_orders_the_output():
    qkv, order = RNG.standard_normal((6, 2, 12)), RNG.permutation(6)
    y, _ = ops.self_attention_forward(qkv, 2)
    np.testing.assert_allclose(ops.self_attention_forward(qkv[order], 2)[0], y[order], rtol=1e-12)


@pytest.mark.parametrize(("shape", "heads"), [((4, 2, 12), 2), ((1, 3, 6), 1), ((5, 1, 9), 3)])
def test_the_gradient_is_right(shape, heads):
    qkv = RNG.standard_normal(shape)
    check_operation(ops.self_attention_forward, ops.self_attention_backward, qkv, heads).raise_if_failed()


def test_chunks_of_images_change_nothing_and_no_array_has_the_scores_of_the_batch(monkeypatch):
    qkv, dy = RNG.standard_normal((7, 5, 12)), RNG.standard_normal((7, 5, 4))
    whole, cache = ops.self_attention_forward(qkv, 2)
    dqkv = ops.self_attention_backward(dy, cache)
    seen = []

    def watched(scores):
        seen.append(scores.shape)
        return ops.softmax_forward(scores)

    monkeypatch.setattr(module, "softmax_forward", watched)
    monkeypatch.setattr(module, "CHUNK", 2 * 2 * 7 * 7 + 1)  # two images of five
    y, cache = ops.self_attention_forward(qkv, 2)
    np.testing.assert_array_equal(y, whole)
    np.testing.assert_array_equal(ops.self_attention_backward(dy, cache), dqkv)
    assert seen == [(2, 2, 7, 7), (2, 2, 7, 7), (1, 2, 7, 7)] * 2
    assert [part for part in cache if isinstance(part, np.ndarray)] == [qkv]  # the cache is the input alone
    monkeypatch.setattr(module, "CHUNK", 1)  # one image has more scores than that: one at a time
    np.testing.assert_array_equal(ops.self_attention_forward(qkv, 2)[0], whole)
    assert [part.stop - part.start for part in module.chunks(7, 20, 2)] == [3, 3, 3, 3, 3, 3, 2]  # at most 8


def test_wrong_shapes_are_said():
    for heads in (5, 0, -1):
        with pytest.raises(ShapeError, match=rf"C channels divide into {heads} heads, got \(4, 2, 12\)"):
            ops.self_attention_forward(np.ones((4, 2, 12)), heads)
    with pytest.raises(ShapeError, match=r"expected qkv of shape \(S, B, 3C\), got \(4, 12\)"):
        ops.self_attention_forward(np.ones((4, 12)), 2)
    _, cache = ops.self_attention_forward(np.ones((4, 2, 12)), 2)
    with pytest.raises(ShapeError, match=r"expected dy of shape \(S, B, C\) with S=4, B=2, C=4, got \(4, 2, 12\)"):
        ops.self_attention_backward(np.ones((4, 2, 12)), cache)
