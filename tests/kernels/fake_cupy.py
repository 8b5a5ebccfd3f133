"""As much of CuPy and nvmath-python as the captured step uses, on NumPy and the kernels' emulator.

It runs launches, products and copies for real, on host memory, and keeps the rules of CUDA that would otherwise only
be broken on a GPU: while a stream is captured its work is recorded and not done, and reading back or allocating is an
error; fresh memory is full of NaN; arguments have the sizes their kernel declares; a product needs a handle whose
stream and workspace were set. `fake_gpu` puts it where `import cupy` and `import nvmath` look.
"""

import ctypes
import importlib.machinery
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from tests.kernels import emulator
from tests.kernels.formats import packed, unpacked
from tinymixer.kernels import precision as codes

NUMBER = {codes.CUDA_R_32F: "float", codes.CUDA_R_16F: "__half", codes.CUDA_R_16BF: "__nv_bfloat16"}


class OutOfMemoryError(MemoryError):
    pass


class CaptureError(Exception):
    """Something was done during a capture that CUDA forbids."""


class Stream:
    """A stream does its work at once, or records it while it is captured."""

    current: "Stream"
    ptr = 7

    def __init__(self, non_blocking=False):
        self.recording = None
        self._outer = []

    def __enter__(self):
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *error):
        Stream.current = self._outer.pop()

    def do(self, work):
        work() if self.recording is None else self.recording.append(work)

    def begin_capture(self):
        self.recording = []

    def end_capture(self):
        graph, self.recording = Graph(self.recording), None
        return graph

    def synchronize(self):
        _not_while_capturing("synchronize")

    def wait_event(self, event):
        assert event.recorded, "a stream waits for an event that was never recorded"


class Graph:
    def __init__(self, work):
        self.work = work

    def launch(self, stream):
        for work in self.work:
            stream.do(work)


class Event:
    def __init__(self, disable_timing=False):
        self.recorded = False

    def record(self, stream):
        self.recorded = True

    def synchronize(self):
        _not_while_capturing("wait for an event")
        assert self.recorded


Stream.current = Stream()


def _not_while_capturing(what):
    if Stream.current.recording is not None:
        raise CaptureError(f"a captured stream cannot {what}")


class ndarray(np.ndarray):  # noqa: N801  the name is CuPy's
    """An array "on the device": NumPy's, with CuPy's ways in and out."""

    @property
    def data(self):
        pointer, array = self.ctypes.data, self

        def memset_async(value, nbytes):
            Stream.current.do(lambda: ctypes.memset(pointer, value, nbytes))

        return SimpleNamespace(ptr=pointer, array=array, memset_async=memset_async)

    def get(self, out=None, blocking=True):
        _not_while_capturing("copy to the host")
        if out is None:
            return np.array(self)
        out[...] = self
        return out

    def set(self, host, stream=None):
        _not_while_capturing("copy from pageable memory")
        assert host.dtype == self.dtype
        assert host.shape == self.shape
        self[...] = host


class RawModule:
    def __init__(self, code, options, name_expressions):
        assert "--std=c++17" in options
        assert "StepState" in code
        self._names = name_expressions

    def get_function(self, name):
        assert name in self._names, f"{name} was not asked for when the module was made"
        _not_while_capturing("compile a kernel")

        def launch(grid, block, arguments, shared_mem=0):
            LAUNCHES.append(name)
            Stream.current.do(lambda: emulator.launch(name, grid, block, arguments, shared_mem))

        return launch


LAUNCHES: list[str] = []  # names, in order, of what was launched or recorded since it was last cleared
MEMORY = SimpleNamespace(free=1 << 30)


def _allocate(shape, dtype, fill):
    _not_while_capturing("allocate here: the step's buffers exist before")
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size > MEMORY.free:
        raise OutOfMemoryError(f"{size} bytes")
    raw = np.full(size + 256, fill, np.uint8)
    start = -raw.ctypes.data % 256  # aligned like CUDA's allocations
    return raw[start : start + size].view(dtype).reshape(shape).view(ndarray)


def asarray(array, dtype=None):
    host = np.asarray(array, dtype)
    device = _allocate(host.shape, host.dtype, 0)
    device[...] = host
    return device


def make_cupy():
    cupy = ModuleType("cupy")
    cupy.__spec__, cupy.__version__ = importlib.machinery.ModuleSpec("cupy", None), "stand-in"
    for name in ("abs", "arange", "exp", "log", "max", "mean", "minimum", "sqrt", "sum", "tanh", "where", "zeros_like"):
        setattr(cupy, name, getattr(np, name))
    cupy.ndarray, cupy.RawModule, cupy.asarray = ndarray, RawModule, asarray
    cupy.zeros = lambda shape, dtype=np.float64: _allocate(shape, dtype, 0)
    cupy.empty = lambda shape, dtype=np.float64: _allocate(shape, dtype, 0xFF)
    device = SimpleNamespace(attributes={"MultiProcessorCount": 3}, mem_info=(MEMORY.free, 2 * MEMORY.free))
    cupy.cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        Device=lambda: SimpleNamespace(attributes=device.attributes, mem_info=(MEMORY.free, 2 * MEMORY.free)),
        alloc_pinned_memory=bytearray,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=type("CompileException", (Exception,), {})),
        get_current_stream=lambda: Stream.current,
        runtime=SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError),
    )
    return cupy


# ------------------------------------------------------------------------------------------ cuBLAS


def _column_major(pointer, data_type, rows, columns, leading):
    """A view of a column-major matrix in memory, as rows of its columns: (columns, rows)."""
    assert leading >= rows, "the leading dimension is smaller than a column"
    dtype = {2: np.float16, 0: np.float32, 14: np.uint16}[data_type]
    count = (columns - 1) * leading + rows
    flat = np.ctypeslib.as_array((ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(pointer)).view(dtype)
    return np.lib.stride_tricks.as_strided(flat, (columns, rows), (leading * flat.itemsize, flat.itemsize))


def make_cublas():
    cublas, handles = ModuleType("nvmath.bindings.cublas"), {}

    def create():
        handles[len(handles) + 1] = {}
        return len(handles)

    def set_stream(handle, pointer):
        handles[handle]["stream"] = pointer

    def set_workspace(handle, pointer, size):
        assert pointer
        handles[handle]["workspace"] = size

    def gemm_ex(handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc, compute, algo):
        assert set(handles[handle]) == {"stream", "workspace"}, "set stream and workspace before a product"
        assert atype == btype
        assert ctype in (atype, codes.CUDA_R_32F)
        assert compute in (codes.COMPUTE_32F, codes.COMPUTE_32F_FAST_TF32)
        assert algo == -1

        def work():
            scale, add = (ctypes.c_float.from_address(factor).value for factor in (alpha, beta))
            left = _column_major(a, atype, k if transa else m, m if transa else k, lda).T
            right = _column_major(b, btype, n if transb else k, k if transb else n, ldb).T
            left, right = (unpacked(x, NUMBER[atype]).astype(np.float64) for x in (left, right))
            out = _column_major(c, ctype, m, n, ldc)
            with np.errstate(all="ignore"):  # overflows are the kernels' business
                product = scale * ((left.T if transa else left) @ (right.T if transb else right))
                if add:
                    product = product + add * unpacked(out, NUMBER[ctype]).T
                out[...] = packed(product.T, NUMBER[ctype])

        Stream.current.do(work)

    for function in (create, set_stream, set_workspace, gemm_ex):
        setattr(cublas, function.__name__, function)
    cublas.destroy = handles.pop
    return cublas


@contextmanager
def fake_gpu(with_nvmath=True):
    """CuPy and nvmath-python as stand-ins; without the latter, importing it fails as where it is not installed."""
    cupy = make_cupy()
    nvmath, bindings, cublas = ModuleType("nvmath"), ModuleType("nvmath.bindings"), make_cublas()
    nvmath.bindings, bindings.cublas = bindings, cublas
    own = ModuleType("cupy_backends.cuda.libs.cublas")
    handle = cublas.create()
    cublas.set_stream(handle, 1)
    cublas.set_workspace(handle, 1, 1)

    def gemm_through_cupy(*arguments):
        if Stream.current.recording is not None:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        cublas.gemm_ex(*arguments)

    own.gemmEx, own.getVersion = gemm_through_cupy, lambda: 130000
    nvrtc = ModuleType("cupy_backends.cuda.libs.nvrtc")
    nvrtc.getVersion = lambda: (13, 0)
    cupy.cuda.device = SimpleNamespace(get_cublas_handle=lambda: handle)
    modules = {"cupy": cupy, "cupy_backends.cuda.libs.cublas": own, nvrtc.__name__: nvrtc}
    names = ("nvmath", "nvmath.bindings", "nvmath.bindings.cublas")
    modules |= dict(zip(names, (nvmath, bindings, cublas) if with_nvmath else (None, None, None), strict=True))
    LAUNCHES.clear()
    with mock.patch.dict(sys.modules, modules):
        yield cupy
