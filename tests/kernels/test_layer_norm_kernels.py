"""LayerNorm with what comes before it, held to the generic operation in float64: emulated on the CPU, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import MULTIPROCESSORS, Call, f32, few, finish, i32, numbers
from tests.kernels.formats import ITEMSIZE, assert_close, rounded, unpacked
from tinymixer import ops
from tinymixer.kernels import launch as layouts

pytestmark = pytest.mark.usefixtures("machine")

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
@pytest.mark.parametrize("rung", ["plain", "lanes", "fast"])
@few
@norm_shapes
def test_layer_norm_forward(number, rung, tokens, images, channels, stream, branch):
    call = Call()
    x, bits, _, by_token = norm_inputs(call, number, tokens, images, channels, stream, branch)
    scale, scale_bits = call.draw(channels)
    bias, bias_bits = call.draw(channels)
    rows, row = tokens * images, layouts.RowLayout.of(channels, ITEMSIZE[number])
    total = call.output(x.shape, number) if branch else None
    normed, mean, inv_std = call.output(x.shape, number), call.output(rows), call.output(rows)
    name = f"layer_norm_forward_{rung}<{number}>"
    layout = layouts.flat(rows) if rung == "plain" else layouts.per_warp(rows)
    if rung == "fast":
        name, layout = f"layer_norm_forward<{number}, {row.template}>", row.every_row(rows)
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
    call.run(f"layer_norm_mean_forward<{number}, {row.template}>", row.every_image(images, channels), *bits,
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
    call.run(f"layer_norm_backward<{number}, {row.template}>", layout, dn_bits, dfeatures_bits, x_bits,
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
