"""The arithmetic of every CUDA kernel, held to the generic operations in float64: emulated on the CPU, and on a GPU.

Shapes are drawn: single elements, odd lengths, several blocks. Arrays are surrounded by NaN that must stay untouched.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels import emulator, on_gpu
from tests.kernels.emulator import COMPILER, FULL_WIDTH, NO_COMPILER, Guarded
from tests.kernels.formats import ITEMSIZE, NUMBERS, assert_close, packed, rounded, unpacked
from tinymixer import ops
from tinymixer.captured.step_state import STEP_STATE
from tinymixer.data import Augmentation
from tinymixer.kernels import launch as layouts

few = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = pytest.mark.parametrize("number", NUMBERS)
plain_and_fast = pytest.mark.parametrize("plain", [True, False], ids=["plain", "fast"])
GELU = {"TanhGelu": "tanh", "FastTanhGelu": "tanh", "ErfGelu": "erf"}
MULTIPROCESSORS = 2  # few, so that small shapes already make blocks walk over several rows
i32, i64, f32 = np.int32, np.int64, np.float32


@pytest.fixture(params=["emulated", pytest.param("on a GPU", marks=pytest.mark.gpu)], autouse=True)
def machine(request, monkeypatch):
    if request.param == "emulated" and COMPILER is None:
        pytest.skip(NO_COMPILER)
    monkeypatch.setattr(Call, "launch", staticmethod((emulator if request.param == "emulated" else on_gpu).launch))


class Call:
    """Arrays for one launch: inputs that must stay as they are, outputs filled with NaN, and guards around both."""

    launch = None  # of the machine that the test runs on

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.guards, self.inputs = [], []

    def draw(self, shape, number="float", scale=1.0):
        values = rounded(self.rng.standard_normal(shape) * scale, number)
        return values.astype(np.float64), self.input(packed(values, number))

    def input(self, array):
        guard = Guarded(np.asarray(array))
        self.guards.append(guard)
        self.inputs.append((guard, guard.array.copy()))
        return guard

    def output(self, shape, number="float", dtype=None):
        guard = Guarded(packed(np.full(shape, np.nan), number) if dtype is None else np.full(shape, -1, dtype))
        self.guards.append(guard)
        return guard

    def in_place(self, values, number):
        guard = Guarded(packed(values, number))
        self.guards.append(guard)
        return guard

    def run(self, name, layout, *arguments, reverse=False):
        arguments = [np.intp(0) if argument is None else argument for argument in arguments]
        self.launch(name, layout.grid, layout.block, arguments, layout.shared, reverse)
        for guard in self.guards:
            guard.check()
        for guard, before in self.inputs:
            np.testing.assert_array_equal(guard.array, before, err_msg=f"{name} wrote to an input")


def widths(number, *lengths):
    return min(layouts.vector_width(ITEMSIZE[number], length) for length in lengths)


def finish(call, partials, columns, parts, plain=False, add=False, start=0, part_stride=None, column_stride=1):
    """Add up partial sums with the kernel that does so in a step."""
    sums = np.array([[start, part_stride or columns, column_stride, parts, columns, 0]], np.int64)
    results = call.in_place(np.full(columns, 1.0 if add else np.nan), "float")
    blocks, layout = layouts.sum_blocks([columns])
    if plain:
        call.run(
            "finish_sums_plain<float>", layouts.flat(columns), partials, call.input(sums), results, i32(1), i32(add)
        )
    else:
        blocks = call.input(np.array(blocks, np.int32))
        call.run("finish_sums<float>", layout, partials, call.input(sums), blocks, results, i32(add))
    return results.array


# ------------------------------------------------------------------------------------------ bias + GELU


@numbers
@pytest.mark.parametrize("gelu", list(GELU))
@plain_and_fast
@few
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 40) | st.sampled_from([64, 512, 520]),
    by_row=st.booleans(),
    with_bias=st.booleans(),
)
def test_bias_gelu(number, gelu, plain, rows, columns, by_row, with_bias):
    call = Call()
    z, z_bits = call.draw((rows, columns), number)
    bias, bias_bits = call.draw(rows if by_row else columns)
    da, _ = call.draw((rows, columns), number)
    if not with_bias:
        bias, bias_bits = bias * 0, None
    whole = z + (bias[:, None] if by_row else bias)
    wanted, cache = getattr(ops, f"gelu_{GELU[gelu]}_forward")(whole)
    wanted_dz = getattr(ops, f"gelu_{GELU[gelu]}_backward")(da, cache)

    a, dz = call.output((rows, columns), number), call.in_place(da, number)
    if plain:
        size = rows * columns
        call.run(f"bias_gelu_forward_plain<{number}, {gelu}>", layouts.flat(size), z_bits, bias_bits, a, i64(rows),
                 i64(columns), i32(by_row))  # fmt: skip
        dbias = call.output(rows if by_row else columns)
        call.run(f"bias_gelu_backward_plain<{number}, {gelu}>", layouts.flat(dbias.array.size), dz, z_bits, bias_bits,
                 dbias, i64(rows), i64(columns), i32(by_row))  # fmt: skip
        dbias = dbias.array
    elif by_row:
        vector = widths(number, columns)
        layout = layouts.over_rows(rows, columns, vector, MULTIPROCESSORS)
        call.run(f"bias_gelu_forward_rows<{number}, {vector}, {gelu}>", layout, z_bits, bias_bits, a, i64(columns))
        partial = call.output((layout.grid[0], rows))
        call.run(f"bias_gelu_backward_rows<{number}, {vector}, {gelu}>", layout, dz, z_bits, bias_bits, partial,
                 i64(columns), i32(0))  # fmt: skip
        dbias = finish(call, partial, rows, layout.grid[0])
    else:
        vector = widths(number, columns)
        layout = layouts.over_columns(rows, columns, vector, MULTIPROCESSORS)
        call.run(f"bias_gelu_forward_columns<{number}, {vector}, {gelu}>", layout, z_bits, bias_bits, a, i64(rows),
                 i64(columns))  # fmt: skip
        partial = call.output((layout.grid[1], columns))
        call.run(f"bias_gelu_backward_columns<{number}, {vector}, {gelu}>", layout, dz, z_bits, bias_bits, partial,
                 i64(rows), i64(columns), i32(0))  # fmt: skip
        dbias = finish(call, partial, columns, layout.grid[1])
    coarse = "__half" if gelu == "FastTanhGelu" and number == "float" else number  # the hardware's tanh has 11 bits
    assert_close(unpacked(a.array, number), wanted, coarse)
    assert_close(unpacked(dz.array, number), wanted_dz, coarse)
    sums = wanted_dz.sum(axis=1 if by_row else 0)
    assert_close(dbias, sums, "__half" if gelu == "FastTanhGelu" else "float", rows * columns)


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_the_atomic_variant_adds_to_one_row(axis):
    call = Call()
    da, _ = call.draw((50, 24))
    z, z_bits = call.draw((50, 24))
    dz, partial = call.in_place(da, "float"), call.in_place(np.zeros(24 if axis == "columns" else 50), "float")
    if axis == "columns":
        layout = layouts.over_columns(50, 24, 4, MULTIPROCESSORS)
        call.run("bias_gelu_backward_columns<float, 4, TanhGelu>", layout, dz, z_bits, None, partial, i64(50), i64(24),
                 i32(1))  # fmt: skip
    else:
        layout = layouts.over_rows(50, 24, 4, MULTIPROCESSORS)
        call.run("bias_gelu_backward_rows<float, 4, TanhGelu>", layout, dz, z_bits, None, partial, i64(24), i32(1))
    wanted = ops.gelu_tanh_backward(da, ops.gelu_tanh_forward(z)[1]).sum(axis=0 if axis == "columns" else 1)
    assert_close(partial.array, wanted, "float", 50 * 24)


# ------------------------------------------------------------------------------------------ LayerNorm

norm_shapes = given(
    tokens=st.integers(1, 5),
    images=st.integers(1, 9),
    channels=st.integers(1, 40) | st.sampled_from([64, 120, 128]),
    stream=st.booleans(),
    branch=st.sampled_from([None, "channel", "token", "token and stochastic depth"]),
)


def norm_inputs(call, number, tokens, images, channels, stream, branch):
    """Inputs of a LayerNorm with a branch in front of it: float64 values and the arrays that hold them."""
    shape = (tokens, images, channels)
    by_token = branch is not None and branch.startswith("token")
    x, x_bits = call.draw(shape, number) if stream or branch is None else (np.zeros(shape), None)
    added, added_bits, bias_bits, factor, factor_bits = np.zeros(shape), None, None, np.ones((images, 1)), None
    if branch is not None:
        added, added_bits = call.draw(shape, number)
        bias, bias_bits = call.draw(tokens if by_token else channels)
        added = added + (bias[:, None, None] if by_token else bias)
    if branch == "token and stochastic depth":
        factor = call.rng.integers(0, 2, (images, 1)) * 1.25
        factor_bits = call.input(factor[:, 0].astype(np.float32))
    stream_values = rounded(x + factor * added, number).astype(np.float64)
    return stream_values, (x_bits, added_bits, bias_bits, factor_bits), factor, by_token


@numbers
@plain_and_fast
@few
@norm_shapes
def test_layer_norm_forward(number, plain, tokens, images, channels, stream, branch):
    call = Call()
    x, bits, _, by_token = norm_inputs(call, number, tokens, images, channels, stream, branch)
    scale, scale_bits = call.draw(channels)
    bias, bias_bits = call.draw(channels)
    rows, row = tokens * images, layouts.RowLayout.of(channels, ITEMSIZE[number])
    total = call.output(x.shape, number) if branch else None
    normed, mean, inv_std = call.output(x.shape, number), call.output(rows), call.output(rows)
    name = (
        f"layer_norm_forward_plain<{number}>" if plain else f"layer_norm_forward<{number}, {row.vector}, {row.pieces}>"
    )
    layout = layouts.flat(rows) if plain else row.every_row(rows)
    call.run(name, layout, *bits, scale_bits, bias_bits, total, normed, mean, inv_std, i32(rows), i32(channels),
             i32(images), i32(by_token), f32(1e-2))  # fmt: skip
    wanted, (_, wanted_inv_std, _) = ops.layer_norm_forward(x, scale, bias, 1e-2)
    if branch:
        # A sum on the edge between two neighbours may round to either.
        assert_close(unpacked(total.array, number), x, number)
    assert_close(unpacked(normed.array, number), wanted, number, 64, "normed")
    assert_close(mean.array, x.mean(axis=-1).ravel(), number, 8)
    assert_close(inv_std.array, wanted_inv_std.ravel(), number, 64)


@numbers
@few
@norm_shapes
def test_layer_norm_and_mean_over_tokens(number, tokens, images, channels, stream, branch):
    call = Call()
    x, bits, _, by_token = norm_inputs(call, number, tokens, images, channels, stream, branch)
    scale, scale_bits = call.draw(channels)
    bias, bias_bits = call.draw(channels)
    rows, row = tokens * images, layouts.RowLayout.of(channels, ITEMSIZE[number])
    total = call.output(x.shape, number) if branch else None
    features, mean, inv_std = call.output((images, channels)), call.output(rows), call.output(rows)
    call.run(f"layer_norm_mean_forward<{number}, {row.vector}, {row.pieces}>", row.every_image(images, channels), *bits,
             scale_bits, bias_bits, total, features, mean, inv_std, i32(tokens), i32(channels), i32(images),
             i32(by_token), f32(1e-2))  # fmt: skip
    wanted = ops.mean_over_tokens_forward(ops.layer_norm_forward(x, scale, bias, 1e-2)[0])[0]
    assert_close(features.array, wanted, number, 64)
    assert_close(mean.array, x.mean(axis=-1).ravel(), number, 8)


@numbers
@few
@given(
    tokens=st.integers(1, 5),
    images=st.integers(1, 20),
    channels=st.integers(1, 40) | st.sampled_from([64, 128]),
    residual=st.booleans(),
    from_features=st.booleans(),
    depth=st.booleans(),
    reverse=st.booleans(),
)
def test_layer_norm_backward(number, tokens, images, channels, residual, from_features, depth, reverse):
    call = Call()
    rows, row = tokens * images, layouts.RowLayout.of(channels, ITEMSIZE[number])
    x, x_bits = call.draw((tokens, images, channels), number)
    scale, scale_bits = call.draw(channels)
    mean, inv_std = x.mean(axis=-1).ravel(), 1 / np.sqrt(x.var(axis=-1).ravel() + 1e-2)
    mean_bits, inv_bits = call.input(mean.astype(np.float32)), call.input(inv_std.astype(np.float32))
    if from_features:
        dfeatures, dfeatures_bits = call.draw((images, channels))
        dn, dn_bits = np.broadcast_to(dfeatures / tokens, x.shape), None
    else:
        dn, dn_bits = call.draw(x.shape, number)
        dfeatures_bits = None
    stream, _ = call.draw(x.shape, number)
    dx = call.in_place(stream, number) if residual else call.output(x.shape, number)
    factor = call.rng.integers(0, 2, images) * 1.5
    dbranch = call.output(x.shape, number) if depth else None
    layout = row.persistent(rows, channels, MULTIPROCESSORS)
    partials = call.output((3, layout.grid[0], channels))
    parts = [_Offset(partials, i * layout.grid[0] * channels * 4) for i in range(3)]
    row_sums = call.output(rows)
    call.run(f"layer_norm_backward<{number}, {row.vector}, {row.pieces}>", layout, dn_bits, dfeatures_bits, x_bits,
             scale_bits, mean_bits, inv_bits, dx if residual else None,
             call.input(factor.astype(np.float32)) if depth else None, dx, dbranch, *parts, row_sums, i32(rows),
             i32(channels), i32(images), i32(0), reverse=reverse)  # fmt: skip

    _, cache = ops.layer_norm_forward(x, scale, scale, 1e-2)
    wanted, dscale, dbias = ops.layer_norm_backward(dn, cache)
    wanted = wanted + stream if residual else wanted
    branch = wanted * factor[:, None] if depth else wanted
    assert_close(unpacked(dx.array, number), wanted, number, 256)
    if depth:
        assert_close(unpacked(dbranch.array, number), branch, number, 256)
    branch = unpacked(dx.array, number).astype(np.float64) * (factor[:, None] if depth else 1)  # sums of what is stored
    assert_close(row_sums.array, branch.sum(axis=2).ravel(), "float", 16 * channels)
    columns, blocks = channels, layout.grid[0]
    for which, sums in enumerate((dscale, dbias, branch.sum(axis=(0, 1)))):
        found = finish(call, partials, columns, blocks, start=which * blocks * channels)
        assert_close(found, sums, "float", 64 * rows)
    per_token = finish(call, row_sums, tokens, images, part_stride=1, column_stride=images)
    assert_close(per_token, branch.sum(axis=(1, 2)), "float", 16 * channels * images)


class _Offset:
    """An address inside an array."""

    def __init__(self, guard, offset):
        self.guard, self.offset = guard, offset
        self.data = type("Pointer", (), {"ptr": guard.array.ctypes.data + offset})


@numbers
@few
@given(rows=st.integers(1, 30), channels=st.integers(1, 40), residual=st.booleans())
def test_layer_norm_backward_plain(number, rows, channels, residual):
    call = Call()
    x, x_bits = call.draw((rows, channels), number)
    dn, dn_bits = call.draw((rows, channels), number)
    stream, stream_bits = call.draw((rows, channels), number)
    scale, scale_bits = call.draw(channels)
    wanted, dscale, dbias = ops.layer_norm_backward(dn, ops.layer_norm_forward(x, scale, scale, 1e-2)[1])
    mean = call.input(x.mean(axis=-1).astype(np.float32))
    inv_std = call.input((1 / np.sqrt(x.var(axis=-1) + 1e-2)).astype(np.float32))
    dx, found_scale, found_bias = call.output(x.shape, number), call.output(channels), call.output(channels)
    call.run(f"layer_norm_backward_plain<{number}>", layouts.flat(rows), dn_bits, x_bits, scale_bits, mean, inv_std,
             stream_bits if residual else None, dx, i32(rows), i32(channels))  # fmt: skip
    call.run(f"layer_norm_parameters_plain<{number}>", layouts.flat(channels), dn_bits, x_bits, mean, inv_std,
             found_scale, found_bias, i32(rows), i32(channels))  # fmt: skip
    assert_close(unpacked(dx.array, number), wanted + stream * residual, number, 256)
    assert_close(found_scale.array, dscale, "float", 64 * rows)
    assert_close(found_bias.array, dbias, "float", 64 * rows)


# ------------------------------------------------------------------------------------------ sums, loss, patches


@plain_and_fast
@few
@given(parts=st.integers(1, 40), columns=st.integers(1, 70), add=st.booleans())
def test_sums_are_finished(plain, parts, columns, add):
    call = Call()
    partials, bits = call.draw((parts, columns))
    assert_close(finish(call, bits, columns, parts, plain, add), partials.sum(axis=0) + add, "float", 2 * parts)
    across = finish(call, bits, parts, columns, plain, add, part_stride=1, column_stride=columns)
    assert_close(across, partials.sum(axis=1) + add, "float", 2 * columns)


@plain_and_fast
@few
@given(images=st.integers(1, 9), classes=st.integers(1, 70), soft=st.booleans(), smoothing=st.sampled_from([0.0, 0.1]))
def test_cross_entropy(plain, images, classes, soft, smoothing):
    call = Call()
    logits, logits_bits = call.draw((images, classes), scale=3)
    logits_bits.array[...] = np.round(logits * 4) / 4  # so that some are equal
    logits = logits_bits.array.astype(np.float64)
    call.inputs.clear()
    labels = call.rng.integers(0, classes, 20)
    indices = call.rng.integers(0, 20, images)
    rows = call.rng.dirichlet(np.ones(classes), images).astype(np.float32)
    targets = rows.astype(np.float64) if soft else labels[indices]
    state = np.zeros(1, STEP_STATE)
    state["loss_scale"] = 8
    dlogits, losses = call.output((images, classes)), call.output(images)
    correct = call.output(images, dtype=np.int32)
    name, layout = ("cross_entropy_plain<float>", layouts.flat(images)) if plain else (
        "cross_entropy<float>", layouts.per_warp(images))  # fmt: skip
    call.run(name, layout, logits_bits, None if soft else call.input(labels), None if soft else
             call.input(indices.astype(np.int32)), call.input(rows) if soft else None,
             call.input(state.view(np.uint8)), dlogits, losses, correct, i32(images), i32(classes),
             f32(smoothing))  # fmt: skip
    loss, wanted = ops.softmax_cross_entropy(logits, targets, smoothing)
    np.testing.assert_allclose(losses.array.mean(), loss, rtol=2e-6)
    np.testing.assert_allclose(dlogits.array, 8 * wanted, rtol=1e-5, atol=1e-6)
    answers = targets.argmax(axis=1) if soft else targets
    if not (soft and smoothing):  # smoothing in float32 may merge two targets that differ in the last digit
        np.testing.assert_array_equal(correct.array, logits.argmax(axis=1) == answers)


@numbers
@plain_and_fast
@few
@given(
    images=st.integers(1, 5),
    patch=st.sampled_from([1, 2, 4]),
    colours=st.sampled_from([1, 3]),
    crop_padding=st.integers(0, 3),
    cutout=st.integers(0, 5),
)
def test_patches_are_those_of_the_host(number, plain, images, patch, colours, crop_padding, cutout):
    call = Call()
    size, rng = 8, call.rng
    pixels = rng.integers(0, 256, (7, size, size, colours)).astype(np.uint8)
    augmentation = Augmentation(crop_padding, True, cutout)
    choices = augmentation.draw(rng, images)
    indices = rng.integers(0, 7, images)
    fill, mean, std = rng.integers(0, 256, colours), rng.random(colours), rng.random(colours) + 0.1
    augmented = augmentation.apply(pixels[indices], choices, fill.tolist())
    wanted = ops.images_to_patches_forward((augmented / 255 - mean) / std, patch)[0]

    from tinymixer.captured.staging import pack_choices

    records = call.input(pack_choices(indices, choices, size, cutout))
    colours_bits = call.input(np.stack([fill, mean, std]).astype(np.float32))
    patches = call.output(wanted.shape, number)
    vector = widths(number, wanted.shape[-1])
    name = f"gather_patches_plain<{number}>" if plain else f"gather_patches<{number}, {vector}>"
    call.run(name, layouts.flat(wanted.size, 1 if plain else vector), call.input(pixels), records, colours_bits,
             patches, i32(size), i32(colours), i32(patch), i32(crop_padding), i32(cutout), i32(images),
             i64(wanted.size))  # fmt: skip
    assert_close(unpacked(patches.array, number), wanted, number, 8)


# ------------------------------------------------------------------------------------------ the update


def test_every_full_width_is_covered():
    """The drawn shapes reach the widest accesses of every format."""
    for number in NUMBERS:
        assert widths(number, 64) == FULL_WIDTH[number]
        assert widths(number, 63) == 1
