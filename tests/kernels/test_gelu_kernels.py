"""Bias and GELU, held to the generic operation in float64: emulated on the CPU, and on a GPU.

Shapes are drawn: single elements, odd lengths, several blocks. Arrays are surrounded by NaN that must stay untouched.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import MULTIPROCESSORS, Call, few, finish, i32, i64, numbers, plain_and_fast, widths
from tests.kernels.emulator import FULL_WIDTH
from tests.kernels.formats import NUMBERS, assert_close, unpacked
from tinymixer import ops
from tinymixer.kernels import launch as layouts

pytestmark = pytest.mark.usefixtures("machine")


@numbers
@few
@given(rows=st.integers(1, 70), columns=st.integers(1, 40) | st.sampled_from([64, 520]), reverse=st.booleans())
def test_column_sums(number, rows, columns, reverse):
    call, vector = Call(), widths(number, columns)
    dz, dz_bits = call.draw((rows, columns), number)
    layout = layouts.over_columns(rows, columns, vector, MULTIPROCESSORS)
    partial = call.output((layout.grid[1], columns))
    call.run(f"column_sums<{number}, {vector}>", layout, dz_bits, partial, i64(rows), i64(columns), i32(0),
             reverse=reverse)  # fmt: skip
    found = finish(call, partial, columns, layout.grid[1])
    assert_close(found, dz.sum(axis=0), "float", 2 * rows)


GELU = {"TanhGelu": "tanh", "FastTanhGelu": "tanh", "ErfGelu": "erf"}


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


@numbers
@few
@given(rows=st.integers(1, 30), columns=st.integers(1, 40) | st.just(64), by_row=st.booleans(), with_bias=st.booleans())
def test_the_step_between_plain_and_fast(number, rows, columns, by_row, with_bias):
    call, vector = Call(), widths(number, columns)
    z, z_bits = call.draw((rows, columns), number)
    bias, bias_bits = call.draw(rows if by_row else columns)
    a = call.output((rows, columns), number)
    call.run(f"bias_gelu_forward_wide<{number}, {vector}, TanhGelu>", layouts.flat(rows * columns, vector), z_bits,
             bias_bits if with_bias else None, a, i64(rows), i64(columns), i32(by_row))  # fmt: skip
    whole = z + with_bias * (bias[:, None] if by_row else bias)
    assert_close(unpacked(a.array, number), ops.gelu_tanh_forward(whole)[0], number)


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


def test_every_full_width_is_covered():
    """The drawn shapes reach the widest accesses of every format."""
    for number in NUMBERS:
        assert widths(number, 64) == FULL_WIDTH[number]
        assert widths(number, 63) == 1
