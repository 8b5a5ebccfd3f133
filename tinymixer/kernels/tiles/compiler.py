"""Compiles tile kernels with cuTile (the extra [cutile]), for a GPU that need not be there.

`cuda.tile` translates a kernel's Python source, and its compiler `tileiras` makes machine code. What the kernel may
assume of its arguments is its signature: row-major arrays that do not overlap, at addresses of 16 bytes. cuTile keeps
compiled kernels on disk, so only the first run on a machine waits some seconds.
"""

import importlib
import io
from types import ModuleType
from typing import Any

from tinymixer.errors import TinymixerError, install_line
from tinymixer.kernels.precision import Precision
from tinymixer.kernels.tiles.cubin import Cubin, read_cubin
from tinymixer.kernels.tiles.tile_sizes import (
    FEW_SPILLS,
    MOST_SPILLS,
    SHARED_BYTES,
    TileArray,
    TileLaunch,
)
from tinymixer.text import reason_of

ALIGNMENT = 16  # bytes of addresses; and elements, where a length or a stride is a multiple of it


class TileError(TinymixerError):
    """Tile kernels cannot be used; the message says why, and whoever catches it does without them."""


def cutile() -> ModuleType:
    """The module `cuda.tile`. Raises TileError where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("cuda.tile")
    except (ImportError, OSError, RuntimeError) as error:
        raise TileError(f"cuTile cannot be used ({reason_of(error)}): {install_line('cutile')}") from error


def versions() -> str:
    """cuTile's version and its compiler's, as far as they are known: another one may make other kernels."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("cuda-tile", "nvidia-cuda-tileiras"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} of the system")
    return ", ".join(found)


def compile_launch(launch: TileLaunch, precision: Precision, architecture: str) -> Cubin:
    """A kernel's machine code for an architecture such as "sm_90". Raises TileError, in a sentence."""
    ct = cutile()
    try:
        compilation = importlib.import_module("cuda.tile.compilation")
        signature = compilation.KernelSignature(
            [_constraint(ct, compilation, array, precision) for array in launch.arrays],
            compilation.CallingConvention.cutile_python_v1(),
            symbol=launch.name,
        )
        kernel, code = launch.make(ct, getattr(ct, precision.name)), io.BytesIO()
        compilation.export_kernel(kernel, [signature], code, gpu_code=architecture, output_format="cubin")
        return read_cubin(code.getvalue(), launch.name)
    except Exception as error:  # cuTile's errors have no common class but Exception, and nothing depends on this kernel
        raise TileError(
            f"cuTile cannot compile {launch.name} for {architecture} ({type(error).__name__}: {reason_of(error)})"
        ) from error


def compile_best(launches: list[TileLaunch], precision: Precision, architecture: str) -> tuple[TileLaunch, Cubin]:
    """Of a kernel's candidates the first that hardly spills, else the one that spills least; within the GPU's limits.

    Raises TileError when none fits.
    """
    if not launches:
        raise TileError("no tile divides these sizes and fits into a multiprocessor's registers")
    best: tuple[TileLaunch, Cubin] | None = None
    for launch in launches:
        cubin = compile_launch(launch, precision, architecture)
        if cubin.shared > SHARED_BYTES[architecture] or cubin.stack > MOST_SPILLS:
            continue
        if best is None or cubin.stack < best[1].stack:
            best = launch, cubin
        if cubin.stack <= FEW_SPILLS:
            break
    if best is None:
        raise TileError(
            f"{launches[0].name} needs more shared memory or registers than {architecture} has, with every tile"
        )
    return best


def _constraint(ct: Any, compilation: Any, array: TileArray, precision: Precision) -> Any:
    """What a kernel may assume of an argument."""
    strides = _strides(array.shape)
    return compilation.ArrayConstraint(
        dtype=getattr(ct, precision.name if array.activation else "float32"),
        ndim=len(array.shape),
        index_dtype=ct.int32,
        stride_lower_bound_incl=0,
        alias_groups=(),
        may_alias_internally=False,
        stride_constant=[None] * (len(strides) - 1) + [1],
        stride_divisible_by=[_divisor(stride) for stride in strides[:-1]] + [1],
        shape_divisible_by=[_divisor(length) for length in array.shape],
        base_addr_divisible_by=ALIGNMENT,
    )


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Of a row-major array, in elements."""
    strides = [1]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * length)
    return strides


def _divisor(number: int) -> int:
    return ALIGNMENT if number % ALIGNMENT == 0 else 1
