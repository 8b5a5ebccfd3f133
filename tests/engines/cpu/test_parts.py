"""The parts that the cpu engine is made of, each by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shaken import shaken
from tinymixer import MixerConfig
from tinymixer.engines.cpu import buffer_pool
from tinymixer.engines.cpu.buffer_pool import BufferPool
from tinymixer.engines.cpu.folding import transpose_into
from tinymixer.engines.cpu.gelu import FORMS, activate, gelu_chunks
from tinymixer.engines.cpu.products import multiply_across, multiply_left
from tinymixer.engines.cpu.stack import BlockStack
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.ops import gelu_erf_backward, gelu_erf_forward, gelu_tanh_backward, gelu_tanh_forward
from tinymixer.optim import SGD, AdamW

SMALL = MixerConfig(image_size=4, patch_size=2, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=9, num_blocks=3)


@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), max_size=8))
def test_an_arena_hands_out_arrays_that_start_at_cache_lines_and_do_not_overlap(shapes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffer_pool, "CHUNK_BYTES", 4096)
        taken = BufferPool(np.float32)
        arrays = [taken.take(*shape) for shape in shapes]
        for i, (shape, array) in enumerate(zip(shapes, arrays, strict=True)):
            assert (array.shape, array.dtype) == (tuple(shape), np.float32)
            assert array.ctypes.data % buffer_pool.LINE == 0
            array.fill(i)
        for i, array in enumerate(arrays):
            assert (array == i).all()


def test_a_rewound_arena_hands_out_the_same_memory(monkeypatch):
    monkeypatch.setattr(buffer_pool, "CHUNK_BYTES", 1024)
    taken = BufferPool(np.float64)
    first = [taken.take(size) for size in (100, 20, 300)]
    taken.rewind()
    again = [taken.take(size) for size in (100, 20, 300)]
    assert [array.ctypes.data for array in again] == [array.ctypes.data for array in first]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("small", "inner", "wide"),
    [(64, 64, 512), (128, 64, 256), (192, 128, 64), (8, 32, 96), (64, 200, 512), (33, 12, 65), (1, 1, 1)],
)
@pytest.mark.parametrize("tiled", [False, True])
def test_products_in_tiles_are_products(dtype, small, inner, wide, tiled, monkeypatch):
    monkeypatch.setattr("tinymixer.engines.cpu.products.small_kernels", lambda: tiled)
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(shape).astype(dtype) for shape in ((inner, small), (inner, wide), (small, wide)))
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    out = np.full((small, wide), np.nan, dtype)
    multiply_left(a, b, out)
    np.testing.assert_allclose(out, a.T @ b, rtol=tolerance, atol=tolerance)
    out = np.full((inner, small), np.nan, dtype)
    multiply_across(b, c, out)
    np.testing.assert_allclose(out, b @ c.T, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(3, 64, 48), (1, 5, 33), (2, 1, 1)])
def test_transposing_in_strips_transposes(shape):
    a = np.random.default_rng(0).standard_normal(shape)
    out = np.empty((shape[0], shape[2], shape[1]))
    transpose_into(out, a)
    np.testing.assert_array_equal(out, a.transpose(0, 2, 1))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scratch", [10, 37, 10_000])
def test_gelu_and_its_slope_are_those_of_the_operations(name, dtype, scratch):
    forward, backward = {
        "tanh": (gelu_tanh_forward, gelu_tanh_backward), "erf": (gelu_erf_forward, gelu_erf_backward),
    }[name]  # fmt: skip
    form = FORMS[name]
    x = np.concatenate([np.linspace(-6, 6, 993), [-300, -20, 0, 20, 300, -1e-20, 1e-20]]).astype(dtype).reshape(100, 10)
    expected, cache = forward(x)
    slope = backward(np.ones_like(x), cache)
    into, y, spare = (x * form.input_scale).astype(dtype), np.empty_like(x), [np.empty(scratch, dtype) for _ in "ab"]
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    alone = into.copy()
    activate(form, gelu_chunks(alone, alone, None, spare))
    np.testing.assert_allclose(alone / form.output_scale, expected, tolerance, 10 * tolerance)
    activate(form, gelu_chunks(into, y, into, spare))
    np.testing.assert_allclose(y / form.output_scale, expected, tolerance, 10 * tolerance)
    # y = output_scale gelu(x) and x~ = input_scale x, so dy/dx~ = gelu'(x) output_scale / input_scale
    found = into * (form.slope_scale * form.input_scale / form.output_scale)
    np.testing.assert_allclose(found, slope, 10 * tolerance, 10 * tolerance)


def test_a_stack_is_all_blocks_in_the_same_memory():
    model = shaken(SMALL, "float32")
    stack = BlockStack(model)
    views = stack.views(model.parameters.values, slice(1, 3))
    assert set(views) == set(model.blocks[0].parameters)
    for name, view in views.items():
        assert np.shares_memory(view, model.parameters.values)
        for i, one in zip((1, 2), view, strict=True):
            np.testing.assert_array_equal(one, model.parameters[f"blocks.{i}.{name}"])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_team_spreads_work_and_keeps_its_order(threads):
    team = ThreadTeam(threads)
    assert list(team.parallel_map(lambda item: item * item, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(team.parallel_map(str, [])) == []


@pytest.mark.parametrize("rule", [SGD, AdamW])
def test_an_update_spread_over_threads_gives_the_same_bits(rule, monkeypatch):
    monkeypatch.setattr("tinymixer.optim.chunks.CHUNK", 50)
    weights, norms = [], []
    for parallel_map in (map, ThreadTeam(2).parallel_map):
        model = shaken(SMALL, "float32")
        optimizer = rule(model.parameters, weight_decay=0.1, clip_norm=0.5)
        model.parameters.gradients[...] = np.random.default_rng(0).standard_normal(model.parameters.gradients.shape)
        norms.append(optimizer.step(0.1, parallel_map))
        weights.append(model.parameters.values.copy())
    assert norms[0] == norms[1]
    np.testing.assert_array_equal(weights[0], weights[1])
