"""What tests of single kernels share: a launch with drawn inputs, guarded arrays and a check that inputs stay."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.kernels.emulator import Guarded
from tests.kernels.formats import ITEMSIZE, NUMBERS, packed, rounded
from tinymixer.kernels import launch as layouts

few = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = pytest.mark.parametrize("number", NUMBERS)
plain_and_fast = pytest.mark.parametrize("plain", [True, False], ids=["plain", "fast"])
MULTIPROCESSORS = 2  # few, so that small shapes already make blocks walk over several rows
i32, i64, f32 = np.int32, np.int64, np.float32


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
