"""Loads compiled tile kernels onto the current GPU and launches them through CuPy, as all other kernels.

A tile kernel has no threads that a caller could count: it is launched with blocks of one, and the driver takes the
number of threads that the compiler has written into the kernel. An array argument is passed as its address, its shape
and its strides. (This is cuTile's calling convention "cutile_python_v1".)
"""

from typing import Any

import numpy as np

from tinymixer.kernels.modules import require_flat
from tinymixer.kernels.precision import Precision
from tinymixer.kernels.tiles.compiler import TileError, compile_best
from tinymixer.kernels.tiles.cubin import Cubin
from tinymixer.kernels.tiles.tile_sizes import MlpSizes, TileLaunch, candidates
from tinymixer.text import reason_of

ONE_THREAD = (1, 1, 1)


class TileKernel:
    """A kernel on the current device; call it with its arrays to launch it on the current stream.

    Raises TileError where the driver does not take it.
    """

    def __init__(self, cupy: Any, launch: TileLaunch, cubin: Cubin) -> None:
        self.launch, self.cubin = launch, cubin
        self._grid = (*launch.grid, 1, 1)[:3]
        try:
            module = cupy.cuda.function.Module()
            module.load(cubin.code)
            self._function = module.get_function(cubin.symbol)
        except Exception as error:  # the driver's errors, which CuPy's versions name differently
            raise TileError(f"the driver does not load {launch.name} ({reason_of(error)})") from error

    def __call__(self, *arrays: Any) -> None:
        """Raises ValueError for arrays of other shapes than it was compiled for, or not in C order."""
        shapes, wanted = [tuple(a.shape) for a in arrays], [a.shape for a in self.launch.arrays]
        if shapes != wanted:
            raise ValueError(f"{self.launch.name} takes arrays of shapes {wanted}, got {shapes}")
        require_flat(*arrays)
        arguments: list[Any] = []
        for array in arrays:
            strides = [stride // array.dtype.itemsize for stride in array.strides]  # in elements
            arguments += [array, *map(np.int32, array.shape), *map(np.int32, strides)]
        self._function(self._grid, ONE_THREAD, tuple(arguments))


def load_kernel(cupy: Any, name: str, sizes: MlpSizes, precision: Precision, architecture: str) -> TileKernel:
    """The kernel of that name for these sizes, compiled and loaded. Raises TileError, in a sentence."""
    return TileKernel(cupy, *compile_best(candidates(name, sizes, architecture), precision, architecture))
