"""The memory for a backward pass's partial sums, and the one launch that adds them up."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels


@dataclass(frozen=True)
class _Sum:
    start: int
    part_stride: int
    column_stride: int
    parts: int
    columns: int
    target: int


class DeviceSums:
    """First collects which sums a step needs, then holds their memory and the table that describes them.

    deterministic   False: kernels add to one row atomically instead of writing one each
    """

    def __init__(self, deterministic: bool) -> None:
        self.deterministic = deterministic
        self._sums: list[_Sum] = []
        self._size = 0
        self._partials: Any = None

    @property
    def atomic(self) -> np.int32:
        return np.int32(not self.deterministic)

    def reserve(self, parts: int, columns: int, target: int) -> int:
        """Reserve `parts` rows of `columns` partial sums of the gradient starting at `target`; returns the offset."""
        return self._add(parts if self.deterministic else 1, columns, target, columns, 1)

    def reserve_whole(self, rows: int, columns: int, target: int) -> int:
        """Reserve a matrix (rows, columns) that is written whole and whose rows are added up; returns the offset."""
        return self._add(rows, columns, target, columns, 1)

    def reserve_across(self, rows: int, columns: int, target: int) -> int:
        """Reserve a matrix (rows, columns) of which each row is summed to one result; returns the offset."""
        return self._add(columns, rows, target, 1, columns)

    def _add(self, parts: int, columns: int, target: int, part_stride: int, column_stride: int) -> int:
        start = self._size
        self._sums.append(_Sum(start, part_stride, column_stride, parts, columns, target))
        self._size += -(-parts * columns // 64) * 64  # every sum starts at a multiple of 256 bytes
        return start

    def allocate(self, cupy: Any, memory: Any = None) -> None:
        """Allocate the memory, or take `memory` of at least `nbytes`, and make the table: once all is reserved."""
        self._partials = cupy.zeros(max(1, self._size), np.float32) if memory is None else memory
        self._cupy = cupy
        self._make_table()

    def leave_out(self, offset: int) -> None:
        """Leave this sum out of `finish`: another kernel now writes its result."""
        self._sums = [s for s in self._sums if s.start != offset]
        self._make_table()

    def _make_table(self) -> None:
        cupy = self._cupy
        table = [[s.start, s.part_stride, s.column_stride, s.parts, s.columns, s.target] for s in self._sums]
        blocks, self._layout = layouts.sum_blocks([s.columns for s in self._sums])
        self._table, self._blocks = cupy.asarray(np.array(table, np.int64)), cupy.asarray(np.array(blocks, np.int32))

    @property
    def nbytes(self) -> int:
        return self._size * 4

    def at(self, offset: int) -> Any:
        """The memory at an offset that `reserve` gave."""
        return self._partials[offset:]

    def matrix(self, offset: int, *shape: int) -> Any:
        """The memory of a sum that is written whole, in its shape."""
        return self._partials[offset : offset + prod(shape)].reshape(shape)

    def clear(self) -> None:
        """Set to zero what atomic additions add to. Rows that are written whole need no zeros."""
        if not self.deterministic:
            self._partials.data.memset_async(0, self._partials.nbytes)

    def finish(self, kernels: Kernels, gradients: Any, add: bool = False) -> None:
        """Add up the partial sums, and write the results into the gradients (add: add them to the gradients)."""
        kernels.launch(
            "finish_sums<float>", self._layout, self._partials, self._table, self._blocks, gradients, np.int32(add)
        )
