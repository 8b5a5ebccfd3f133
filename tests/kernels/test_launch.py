"""Launch arithmetic, on the host: every element is covered once, nothing is misaligned, limits are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import MixerConfig
from tinymixer.engines.cuda.memory_plan import ALIGNMENT, largest_batch, out_of_memory, plan_activations
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.launch import THREADS, WARP
from tinymixer.kernels.precision import PRECISIONS, get_precision

sizes = st.integers(1, 5000) | st.sampled_from([8192, 65536, 524288])
itemsizes = st.sampled_from([2, 4])
processors = st.sampled_from([1, 3, 132])


@given(itemsize=itemsizes, row=sizes)
def test_every_row_starts_aligned(itemsize, row):
    vector = layouts.vector_width(itemsize, row)
    assert row % vector == 0
    assert vector == 1 or vector * itemsize == layouts.ACCESS_BYTES
    if row % 8 == 0:
        assert vector * itemsize == layouts.ACCESS_BYTES


@given(size=sizes, per_thread=st.sampled_from([1, 4, 8]))
def test_flat_covers_everything_with_no_idle_block(size, per_thread):
    layout = layouts.flat(size, per_thread)
    each = layout.block[0] * per_thread
    assert (layout.grid[0] - 1) * each < size <= layout.grid[0] * each


@given(channels=st.integers(1, 12000), itemsize=itemsizes, rows=sizes, multiprocessors=processors)
def test_rows_of_channels(channels, itemsize, rows, multiprocessors):
    row = layouts.RowLayout.of(channels, itemsize)
    threads = row.lanes * row.groups
    assert threads % WARP == 0  # warp sums need whole warps
    assert threads <= THREADS
    assert WARP % row.lanes == 0  # a row's lanes lie in one warp
    assert (row.pieces - 1) * row.lanes * row.vector < channels <= row.pieces * row.lanes * row.vector
    assert row.every_row(rows).grid[0] * row.groups >= rows
    persistent = row.persistent(rows, channels, multiprocessors)
    assert 1 <= persistent.grid[0] <= multiprocessors * row.resident
    assert (persistent.grid[0] - 1) * row.groups < rows  # no block without a row
    assert persistent.shared == row.groups * channels * 4
    assert persistent.shared <= layouts.SHARED_BYTES


@given(rows=sizes, columns=sizes, itemsize=itemsizes, multiprocessors=processors)
def test_matrices_walked_down_their_columns(rows, columns, itemsize, multiprocessors):
    vector = layouts.vector_width(itemsize, columns)
    layout = layouts.over_columns(rows, columns, vector, multiprocessors)
    lanes, groups = layout.block
    assert lanes * groups == THREADS
    assert (layout.grid[0] - 1) * lanes * vector < columns <= layout.grid[0] * lanes * vector
    assert (layout.grid[1] - 1) * groups < rows
    assert layout.grid[1] <= layouts.LARGEST_GRID_Y
    assert layout.shared <= layouts.SHARED_BYTES


@given(rows=st.integers(1, 4096), columns=sizes, itemsize=itemsizes, multiprocessors=processors)
def test_matrices_walked_along_their_rows(rows, columns, itemsize, multiprocessors):
    vector = layouts.vector_width(itemsize, columns)
    layout = layouts.over_rows(rows, columns, vector, multiprocessors)
    assert layout.grid[1] == rows
    assert (layout.grid[0] - 1) * THREADS * vector < columns  # no chunk without a column


@given(rows=sizes, features=sizes, itemsize=itemsizes)
def test_rows_of_patches_are_shared_out(rows, features, itemsize):
    layout = layouts.patch_rows(rows, features, layouts.vector_width(itemsize, features))
    lanes, groups = layout.block
    assert 1 <= lanes * groups <= THREADS
    assert (layout.grid[0] - 1) * groups < rows <= layout.grid[0] * groups


def test_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="at most 65535 rows, got 70000"):
        layouts.over_rows(70000, 8, 8, 132)


@given(columns=st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_blocks_of_sums_cover_every_column_once(columns):
    blocks, layout = layouts.sum_blocks(columns)
    pairs = np.array(blocks).reshape(-1, 2)
    assert layout.grid[0] == len(pairs)
    for which, count in enumerate(columns):
        firsts = sorted(pairs[pairs[:, 0] == which, 1])
        assert firsts == list(range(0, count, WARP))


@settings(deadline=None, max_examples=30)
@given(images=st.integers(1, 64), name=st.sampled_from(list(PRECISIONS)), recompute=st.booleans())
def test_buffers_are_aligned_and_apart(images, name, recompute):
    plan = plan_activations(MixerConfig(), images, get_precision(name), recompute)
    ends, offsets = 0, plan.offsets
    for buffer in plan.buffers:
        start = offsets[buffer.name]
        assert start % ALIGNMENT == 0
        assert start >= ends
        ends = start + buffer.nbytes
    assert ends <= plan.nbytes


def test_recomputing_saves_the_activated_hidden_layers():
    kept, less = (plan_activations(MixerConfig(), 512, get_precision("bfloat16"), r).nbytes for r in (False, True))
    stream = 64 * 512 * 128 * 2  # X = S * B * C * itemsize; the hidden layers of 7 blocks are 1 X and 4 X each
    assert kept - less == 7 * 5 * stream


@settings(deadline=None, max_examples=30)
@given(free=st.integers(1, 1 << 34))
def test_the_largest_batch_fits_and_no_larger_one_does(free):
    config, precision = MixerConfig(), get_precision("float32")
    batch = largest_batch(config, precision, free)
    if batch:
        assert plan_activations(config, batch, precision).nbytes <= free
    step = 8 if batch >= 8 else 1
    assert plan_activations(config, batch + step, precision).nbytes > free


def test_out_of_memory_says_what_to_do():
    message = out_of_memory(MixerConfig(), 4096, get_precision("float32"), 1 << 30, False)
    assert "a step of 4096 images in float32 needs" in message
    assert "1.00 GiB are free; --batch-size" in message
    assert "not even one image fits" in out_of_memory(MixerConfig(), 1, get_precision("float32"), 1000, False)
