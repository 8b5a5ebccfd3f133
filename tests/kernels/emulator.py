"""Builds and drives the emulator: every kernel of `tinymixer/kernels/cuda`, compiled by g++ and run on the CPU.

`emulator.hpp` says how it works and what it is stricter about. Built libraries are kept in the system's temporary
folder under the hash of everything that went into them, so that only a change of a kernel is compiled again, and
once for all test processes and clones.
"""

import ctypes
import functools
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock

from tinymixer.kernels.modules import translation_unit

HEADER = Path(__file__).with_name("emulator.hpp")
COMPILER = shutil.which("g++")
FULL_WIDTH = {"float": 4, "__half": 8, "__nv_bfloat16": 8}
# Pieces and lanes of a row of up to 4 * 32 * V channels: more than one piece where a whole warp is not enough.
ROW_SHAPES = ("1, 1", "1, 2", "1, 4", "1, 8", "1, 16", "1, 32", "2, 32", "3, 32", "4, 32")
GELUS = ("TanhGelu", "FastTanhGelu", "ErfGelu")
NO_COMPILER = "the kernels' emulator needs g++, which is not installed"

BY_FORMAT = (
    "layer_norm_forward_plain",
    "layer_norm_forward_lanes",
    "layer_norm_backward_plain",
    "layer_norm_parameters_plain",
    "gather_patches_plain",
    "copy_weights",
    "sgd_update_plain",
    "sgd_update",
    "adamw_update_plain",
    "adamw_update",
    "muon_begin",
    "muon_polynomial",
    "muon_update",
)
IN_FLOAT = (
    "finish_sums_plain",
    "finish_sums",
    "fill_rows",
    "cross_entropy_plain",
    "cross_entropy",
    "gradient_squares",
    "average_weights",
    "muon_momentum",
    "settle_step",
    "begin_step",
    "augment_images",
    "branch_factors",
    "hold_stream",
)


def kernel_names(number: str) -> list[str]:
    """Full names of the kernels that the emulator has for a working format."""
    widths = (1, FULL_WIDTH[number])
    names = [f"{name}<{number}>" for name in BY_FORMAT]
    names += [
        f"{name}<{number}, {v}>" for name in ("gather_patches", "mix_patches", "dropout", "column_sums") for v in widths
    ]
    for gelu in GELUS:
        names += [f"bias_gelu_{direction}_plain<{number}, {gelu}>" for direction in ("forward", "backward")]
        names += [f"bias_gelu_forward_wide<{number}, {v}, {gelu}>" for v in widths]
        names += [
            f"bias_gelu_{direction}_{axis}<{number}, {v}, {gelu}>"
            for direction, axis, v in itertools.product(("forward", "backward"), ("columns", "rows"), widths)
        ]
    for kernel, v, shape in itertools.product(("forward", "mean_forward", "backward"), widths, ROW_SHAPES):
        names.append(f"layer_norm_{kernel}<{number}, {v}, {shape}>")
    if number == "float":
        names += [f"{name}<float>" for name in IN_FLOAT]
    return names


def generated_source(number: str) -> str:
    entries = "\n".join(f'    make_kernel("{name}", {name}),' for name in kernel_names(number))
    table = f"const std::vector<Kernel> KERNELS = {{\n{entries}\n}};\n"
    return f'#include "{HEADER.name}"\n{translation_unit()}\n{table}'


@functools.cache
def library(number: str) -> ctypes.CDLL:
    """The compiled emulator for a working format: "float", "__half" or "__nv_bfloat16"."""
    text = generated_source(number)
    key = hashlib.sha256((HEADER.read_text() + text).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"tinymixer-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{key}.so"
    with FileLock(folder / f"{key}.lock"):  # one test process compiles, the others wait for it
        if not built.exists():
            _build(text, built)
    loaded = ctypes.CDLL(str(built))
    loaded.launch_kernel.restype = ctypes.c_char_p
    return loaded


def _build(text: str, built: Path) -> None:
    with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
        code, object_file, fresh = (Path(scratch) / f"kernels.{end}" for end in ("cpp", "o", "so"))
        code.write_text(text)
        options = ["-std=c++17", "-O1", "-w", "-U_FORTIFY_SOURCE", "-fsanitize=alignment", "-fPIC"]
        _run_compiler(*options, f"-I{HEADER.parent}", "-c", str(code), "-o", str(object_file))
        # Linked without the option, or g++ would ask for its own library of handlers: emulator.hpp has the one.
        _run_compiler("-shared", str(object_file), "-o", str(fresh))
        fresh.rename(built)


def _run_compiler(*arguments: str) -> None:
    done = subprocess.run([str(COMPILER), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"g++ refused the kernels:\n{done.stderr[:4000]}")


def number_of(name: str) -> str:
    """The working format in a kernel's full name."""
    return name.split("<")[1].rstrip(">").split(",")[0].strip()


def launch(name, grid, block, arguments, shared_mem=0, reversed_order=False):
    """Run a kernel, `arguments` as CuPy takes them: arrays (anything with `.data.ptr` or `.ctypes`) and NumPy scalars.

    Raises LookupError for a kernel the emulator does not have, TypeError for an argument of the wrong size and
    RuntimeError for what the emulator found wrong.
    """
    emulator = library(number_of(name))
    sizes = (ctypes.c_int * 64)()
    count = emulator.kernel_arguments(name.encode(), sizes)
    if count < 0:
        raise LookupError(f"the emulator has no kernel {name}: add it to tests/kernels/emulator.py")
    if count != len(arguments):
        raise TypeError(f"{name} takes {count} arguments, got {len(arguments)}")
    values = [_as_scalar(argument) for argument in arguments]
    for i, value in enumerate(values):
        if value.nbytes != sizes[i]:
            raise TypeError(f"argument {i} of {name} has {sizes[i]} bytes, got {value.nbytes} ({value.dtype})")
    pointers = (ctypes.c_void_p * count)(*(value.ctypes.data for value in values))
    three = ctypes.c_uint * 3
    grid, block = (tuple(size) + (1,) * (3 - len(size)) for size in (grid, block))
    trouble = emulator.launch_kernel(
        name.encode(), three(*grid), three(*block), ctypes.c_size_t(shared_mem), int(reversed_order), pointers
    )
    if trouble is not None:
        raise RuntimeError(f"{name} {grid} {block}: {trouble.decode()}")


def _as_scalar(argument) -> np.ndarray:
    if isinstance(argument, np.generic):
        return np.array(argument)
    data = getattr(argument, "data", None)
    pointer = data.ptr if hasattr(data, "ptr") else argument.ctypes.data
    return np.array(pointer, np.uintp)


class Guarded:
    """A stretch of memory with NaN (or 0xff) around it, to see whether a kernel reads or writes beyond an array."""

    MARGIN = 256  # bytes on either side

    def __init__(self, array: np.ndarray) -> None:
        self._bytes = np.full(array.nbytes + 2 * self.MARGIN + 64, 0xFF, np.uint8)
        start = self.MARGIN + (-(self._bytes.ctypes.data + self.MARGIN)) % 64  # arrays of CuPy's are aligned too
        self._start, self._stop = start, start + array.nbytes
        self.array = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array

    @property
    def ctypes(self):
        return self.array.ctypes

    def surrounded(self) -> np.ndarray:
        """The bytes of the array and of MARGIN on either side."""
        return self._bytes[self._start - self.MARGIN : self._stop + self.MARGIN]

    def check(self) -> None:
        assert (self._bytes[: self._start] == 0xFF).all(), "a kernel wrote before the start of an array"
        assert (self._bytes[self._stop :] == 0xFF).all(), "a kernel wrote beyond the end of an array"
