"""The part of `cuda.tile` that the kernels use, on NumPy: the same source runs without a GPU.

    ct = NumpyTiles()
    kernels = token_kernels(ct, S, DS, N, ct.bfloat16)
    ct.launch(kernels.forward, (columns // N,), x, w1, b1, w2, y)

Blocks run one after the other. Tiles are exact in float64 by default, so that a kernel can be held to `tinymixer.ops`
to the last digits; with `rounding`, a tile that a kernel converts to a number format is rounded as a GPU would.
"""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


def round_to_bits(tile: np.ndarray, dropped: int) -> np.ndarray:
    """The nearest float32 whose last `dropped` bits are zero; ties go to the one that ends in an even bit."""
    bits = tile.astype(np.float32).view(np.uint32)
    last_kept = bits >> dropped & 1
    return ((bits + (1 << (dropped - 1)) - 1 + last_kept) >> dropped << dropped).astype(np.uint32).view(np.float32)


ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bfloat16": lambda tile: round_to_bits(tile, 16),
    "tfloat32": lambda tile: round_to_bits(tile, 13),
    "float16": lambda tile: tile.astype(np.float16).astype(np.float32),
}


class NumpyTiles:
    """Stands in for the module `cuda.tile`; `load` and `store` take NumPy arrays.

    dtype      of all tiles
    rounding   whether `astype` rounds
    """

    float32, bfloat16, tfloat32, float16 = "float32", "bfloat16", "tfloat32", "float16"
    RoundingMode = SimpleNamespace(APPROX=None)

    def __init__(self, dtype: Any = np.float64, rounding: bool = False) -> None:
        self._dtype, self._rounding = dtype, rounding
        self._block: tuple[int, ...] = ()
        self._grid: tuple[int, ...] = ()

    def launch(self, kernel: Callable[..., None], grid: tuple[int, ...], *arguments: Any) -> None:
        """Run a kernel once for every block of the grid."""
        self._grid = grid
        for self._block in itertools.product(*map(range, grid)):
            kernel(*arguments)

    @staticmethod
    def kernel(function: Callable[..., None]) -> Callable[..., None]:
        """cuTile's decorator; nothing needs to be compiled here."""
        return function

    def bid(self, axis: int) -> int:
        """The number of this block."""
        return self._block[axis]

    def num_blocks(self, axis: int) -> int:
        return self._grid[axis]

    @staticmethod
    def cdiv(a: int, b: int) -> int:
        return -(-a // b)

    def load(self, array: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        """The tile of that shape at that place, counted in tiles."""
        return np.array(array[_window(array, index, shape)], self._dtype)

    @staticmethod
    def store(array: Any, index: tuple[int, ...], tile: np.ndarray) -> None:
        array[_window(array, index, tile.shape)] = tile

    def full(self, shape: tuple[int, ...], value: float, dtype: str) -> np.ndarray:
        return np.full(shape, value, self._dtype)

    def astype(self, tile: np.ndarray, number: Any) -> np.ndarray:
        """The tile, rounded to a number format if this object rounds; its dtype stays, for sums follow."""
        known = self._rounding and isinstance(number, str) and number in ROUNDING
        return ROUNDING[number](tile).astype(self._dtype) if known else tile

    @staticmethod
    def mma(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Multiply matrices and add: total + a @ b."""
        return total + a @ b

    @staticmethod
    def tanh(tile: np.ndarray, rounding_mode: Any = None) -> np.ndarray:
        return np.tanh(tile)

    @staticmethod
    def sum(tile: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
        return tile.sum(axis=axis, keepdims=keepdims)

    @staticmethod
    def transpose(tile: np.ndarray) -> np.ndarray:
        return tile.T

    @staticmethod
    def reshape(tile: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return tile.reshape(shape)


def _window(array: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of an array where a tile lies. Raises IndexError outside it, where a GPU would read zeros."""
    window = tuple(slice(i * size, (i + 1) * size) for i, size in zip(index, shape, strict=True))
    if any(part.stop > size for part, size in zip(window, array.shape, strict=True)):
        raise IndexError(f"a tile {shape} at {index} ends outside an array {tuple(array.shape)}")
    return window
