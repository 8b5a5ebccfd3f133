"""The tile kernels' own source, run on NumPy, held to the operations: exactly in float64, and rounded as on a GPU."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.kernels.tiles.channel_mlp import channel_kernels
from tinymixer.kernels.tiles.on_numpy import NumpyTiles, round_to_bits
from tinymixer.kernels.tiles.token_mlp import token_kernels

powers = st.sampled_from([1, 2, 4, 8, 16])


def drawn(rng, *shape):
    return rng.standard_normal(shape) * 0.7


def assert_equal(found, wanted, tolerance=1e-12):
    assert found.shape == wanted.shape
    scale = max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def token_by_operations(x, dy, w1, b1, w2):
    """On x (S, columns): y, dx, dw1, dw2, db1 by `tinymixer.ops`."""
    z = w1 @ x + b1[:, None]
    a, cache = ops.gelu_tanh_forward(z)
    dz = ops.gelu_tanh_backward(w2.T @ dy, cache)
    return w2 @ a, w1.T @ dz, dz @ x.T, dy @ a.T, dz.sum(axis=1)


def channel_by_operations(x, dy, w1, b1, w2):
    """On x (rows, C): y, dx, dw1, dw2, db1 by `tinymixer.ops`."""
    hidden, first = ops.linear_forward(x, w1, b1)
    a, cache = ops.gelu_tanh_forward(hidden)
    y, second = ops.linear_forward(a, w2, np.zeros(w2.shape[1]))
    da, dw2, _ = ops.linear_backward(dy, second)
    dx, dw1, db1 = ops.linear_backward(ops.gelu_tanh_backward(da, cache), first)
    return y, dx, dw1, dw2, db1


def run_token(ct, x, dy, w1, b1, w2, N, blocks):
    (DS, S), columns = w1.shape, x.shape[1]
    kernels = token_kernels(ct, S, DS, N, ct.bfloat16)
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    sums = [np.full((blocks, *shape), np.nan) for shape in (w1.shape, w2.shape, b1.shape)]
    ct.launch(kernels.forward, (columns // N,), x, w1, b1, w2, y)
    ct.launch(kernels.backward, (blocks,), x, dy, w1, b1, w2, dx, *sums)
    return y, dx, *(partial.sum(axis=0) for partial in sums)


def run_channel(ct, x, dy, w1, b1, w2, M, H, parts):
    (C, DC), rows = w1.shape, x.shape[0]
    kernels = channel_kernels(ct, C, DC, M, H, ct.bfloat16)
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    sums = [np.full((parts, *shape), np.nan) for shape in (w1.shape, w2.shape, b1.shape)]
    ct.launch(kernels.forward, (rows // M,), x, w1, b1, w2, y)
    ct.launch(kernels.backward_input, (rows // M,), x, dy, w1, b1, w2, dx)
    ct.launch(kernels.backward_weights, (DC // H, parts), x, dy, w1, b1, w2, *sums)
    return y, dx, *(partial.sum(axis=0) for partial in sums)


@settings(deadline=None, max_examples=40)
@given(S=powers, DS=powers, N=powers, tiles=st.integers(1, 7), blocks=st.integers(1, 9), seed=st.integers(0, 99))
def test_token_kernels_equal_the_operations(S, DS, N, tiles, blocks, seed):
    """Also with more blocks than tiles: those write sums of zero."""
    rng = np.random.default_rng(seed)
    arrays = (
        drawn(rng, S, N * tiles),
        drawn(rng, S, N * tiles),
        drawn(rng, DS, S),
        drawn(rng, DS),
        drawn(rng, S, DS),
    )
    found = run_token(NumpyTiles(), *arrays, N, blocks)
    for ours, wanted in zip(found, token_by_operations(*arrays), strict=True):
        assert_equal(ours, wanted)


@settings(deadline=None, max_examples=40)
@given(
    C=powers, M=powers, H=powers, pieces=st.integers(1, 5), tiles=st.integers(1, 6), parts=st.integers(1, 7),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_channel_kernels_equal_the_operations(C, M, H, pieces, tiles, parts, seed):
    rng, DC = np.random.default_rng(seed), H * pieces
    arrays = (
        drawn(rng, M * tiles, C),
        drawn(rng, M * tiles, C),
        drawn(rng, C, DC),
        drawn(rng, DC),
        drawn(rng, DC, C),
    )
    found = run_channel(NumpyTiles(), *arrays, M, H, parts)
    for ours, wanted in zip(found, channel_by_operations(*arrays), strict=True):
        assert_equal(ours, wanted)


def test_rounded_factors_are_near_and_not_equal():
    """In bfloat16 each factor is off by up to 2^-8 of itself: a result by about that share of its size."""
    rng = np.random.default_rng(0)
    x, dy, w1, b1, w2 = (drawn(rng, *shape) for shape in ((16, 64), (16, 64), (32, 16), (32,), (16, 32)))
    found = run_token(NumpyTiles(np.float32, rounding=True), x, dy, w1, b1, w2, 16, 2)
    for ours, wanted in zip(found, token_by_operations(x, dy, w1, b1, w2), strict=True):
        error = np.linalg.norm(ours - wanted) / np.linalg.norm(wanted)
        assert 2.0**-12 < error < 2.0**-7


def test_rounding_keeps_the_nearest_and_breaks_ties_to_even():
    step = 2.0**-7  # of bfloat16 above 1
    numbers = np.array([1.0, 1 + 0.49 * step, 1 + 0.5 * step, 1 + 1.5 * step, -(1 + 0.51 * step)], np.float32)
    assert round_to_bits(numbers, 16).tolist() == [1.0, 1.0, 1.0, 1 + 2 * step, -(1 + step)]


def test_a_tile_outside_its_array_is_an_error():
    ct = NumpyTiles()
    with pytest.raises(IndexError, match=r"a tile \(2, 4\) at \(1, 0\) ends outside an array \(3, 4\)"):
        ct.load(np.zeros((3, 4)), (1, 0), (2, 4))
