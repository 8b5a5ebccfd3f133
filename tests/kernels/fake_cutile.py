"""As much of `cuda.tile` as compiling and launching need: "compiled" kernels run their own source on NumPy tiles.

`export_kernel` writes an ELF file with the sections that `cubin.py` reads, and a number by which `Module.load`, CuPy's
way to the driver, finds the kernel again. A launch is given what the calling convention says, address, shape and
strides of each array, and they are checked against the signature as a GPU would trust them.
"""

import itertools
import struct
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import numpy as np

from tests.kernels import fake_cuda
from tests.kernels.fake_cublas import LAUNCHES
from tests.kernels.fake_cuda import Stream
from tests.kernels.formats import packed, unpacked
from tinymixer.kernels.tiles.cubin import HEADER, REGISTERS, SECTION, SIZED, STACK
from tinymixer.kernels.tiles.on_numpy import NumpyTiles

COMPILED: dict[bytes, "Compiled"] = {}  # by the code that export_kernel wrote
STORAGE = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
_numbers = itertools.count()


@dataclass
class Compiled:
    name: str
    function: object
    tiles: NumpyTiles
    arrays: list


@dataclass
class Usage:
    """What the compiler says a kernel takes; a test may answer otherwise, by kernel and architecture."""

    shared: int = 40_000
    registers: int = 168
    stack: int = 0


class BrainArray:
    """An array of bfloat16 numbers whose bits lie in uint16."""

    dtype = "bfloat16"

    def __init__(self, bits):
        self.bits, self.shape = bits, bits.shape

    def __getitem__(self, window):
        return unpacked(self.bits[window], "__nv_bfloat16")

    def __setitem__(self, window, tile):
        self.bits[window] = packed(tile, "__nv_bfloat16")


def make_cutile(usage=lambda name, architecture: Usage(), damage=None):
    """The modules `cuda.tile` and `cuda.tile.compilation`.

    usage    what a kernel takes
    damage   spoils the arrays of a kernel after it has run: (name, arrays) -> None
    """
    tile, compilation = ModuleType("cuda.tile"), ModuleType("cuda.tile.compilation")
    tiles = NumpyTiles(np.float32, rounding=True)
    for name in dir(tiles):
        if not name.startswith("_"):
            setattr(tile, name, getattr(tiles, name))
    tile.int32 = "int32"
    compilation.KernelSignature = lambda parameters, calling_convention, symbol=None: SimpleNamespace(
        parameters=list(parameters), calling_convention=calling_convention, symbol=symbol
    )
    compilation.ArrayConstraint = lambda dtype, ndim, **rest: SimpleNamespace(dtype=dtype, ndim=ndim, **rest)
    compilation.CallingConvention = SimpleNamespace(cutile_python_v1=lambda: "cutile_python_v1")

    def export_kernel(kernel, signatures, output_file, *, gpu_code=None, output_format):
        assert output_format == "cubin"
        (signature,) = signatures
        assert signature.calling_convention == "cutile_python_v1"
        code = elf(signature.symbol, usage(signature.symbol, gpu_code), next(_numbers))

        def spoiled(*arrays):
            kernel(*arrays)
            if damage is not None:
                damage(signature.symbol, arrays)

        COMPILED[code] = Compiled(signature.symbol, spoiled, tiles, signature.parameters)
        output_file.write(code)

    compilation.export_kernel = export_kernel
    tile.compilation = compilation
    return {"cuda": ModuleType("cuda"), "cuda.tile": tile, "cuda.tile.compilation": compilation}


def elf(symbol, usage, number):
    """A file of five sections: none, names, code, attributes, shared memory."""
    info = b"".join(
        struct.pack("<BBHII", SIZED, attribute, 8, 0, value)
        for attribute, value in ((REGISTERS, usage.registers), (STACK, usage.stack))
    )
    text = struct.pack("<Q", number)
    titles = ["", ".shstrtab", f".text.{symbol}", ".nv.info", f".nv.shared.{symbol}"]
    names, starts = b"", []
    for title in titles:
        starts.append(len(names))
        names += title.encode() + b"\0"
    pieces, headers, position = [b"", names, text, info, b""], [], HEADER.size
    for i, piece in enumerate(pieces):
        length = usage.shared if i == 4 else len(piece)
        headers.append(SECTION.pack(starts[i], 8 if i == 4 else 1, 0, 0, position, length, 0, 0, 1, 0))
        position += len(piece)
    magic = b"\x7fELF" + bytes(12)
    head = HEADER.pack(magic, 2, 190, 1, 0, 0, position, 0, HEADER.size, 0, 0, SECTION.size, len(headers), 1)
    return head + b"".join(pieces) + b"".join(headers)


class Module:
    """`cupy.cuda.function.Module`: a cubin loaded by the driver."""

    def load(self, cubin):
        if Stream.capture is not None:
            fake_cuda._refuse("a kernel cannot be loaded during a capture")
        self._compiled = COMPILED[cubin]

    def get_function(self, name):
        compiled = self._compiled
        assert name == compiled.name

        def launch(grid, block, args, shared_mem=0, stream=None, enable_cooperative_groups=False):
            assert block == (1, 1, 1), "a tile kernel brings its own number of threads"
            assert shared_mem == 0
            assert len(grid) == 3
            assert max(grid) < 1 << 24
            arrays = unflatten(args, compiled.arrays)
            LAUNCHES.append(name)
            Stream.current.do(lambda: compiled.tiles.launch(compiled.function, grid, *arrays))

        return launch


def unflatten(arguments, constraints):
    """The arrays that a kernel sees, after everything that it was promised has been checked."""
    arrays, left = [], list(arguments)
    for expected in constraints:
        array, *numbers = (left.pop(0) for _ in range(1 + 2 * expected.ndim))
        assert isinstance(array, fake_cuda.ndarray)
        assert all(type(number) is np.int32 for number in numbers)
        shape, strides = numbers[: expected.ndim], numbers[expected.ndim :]
        assert tuple(shape) == array.shape
        assert tuple(int(stride) * array.itemsize for stride in strides) == array.strides
        assert array.dtype == STORAGE[expected.dtype]
        assert array.data.ptr % expected.base_addr_divisible_by == 0
        for given, constant in zip(strides, expected.stride_constant, strict=True):
            assert constant in (None, given)
        for given, divisor in zip(
            (*shape, *strides), (*expected.shape_divisible_by, *expected.stride_divisible_by), strict=True
        ):
            assert given % divisor == 0
        plain = array.view(np.ndarray)
        arrays.append(BrainArray(plain) if expected.dtype == "bfloat16" else plain)
    assert not left, "more arguments than the signature has"
    return arrays


@contextmanager
def fake_cutile(monkeypatch, **options):
    """cuTile as installed."""
    with monkeypatch.context() as patch:
        for name, module in make_cutile(**options).items():
            patch.setitem(sys.modules, name, module)
        yield
