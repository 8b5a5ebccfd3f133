"""As much of CuPy and nvmath-python as the captured step uses, on NumPy and the kernels' emulator.

It runs launches, products and copies for real, on host memory, and keeps the rules of CUDA that would otherwise only
be broken on a GPU: while a stream is captured its work is recorded and not done, and reading back or allocating is an
error; fresh memory is full of NaN; arguments have the sizes their kernel declares; a product needs a handle whose
stream and workspace were set. `fake_gpu` puts it where `import cupy` and `import nvmath` look.
"""

import ctypes
import enum
import importlib.machinery
import os
import sys
import tempfile
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from tests.kernels import emulator
from tests.kernels.formats import packed, unpacked
from tinymixer import ops
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
    device = SimpleNamespace(attributes={"MultiProcessorCount": 3})
    cupy.cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        Device=lambda: SimpleNamespace(id=0, attributes=device.attributes, mem_info=(MEMORY.free, 2 * MEMORY.free)),
        alloc_pinned_memory=bytearray,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=type("CompileException", (Exception,), {})),
        get_current_stream=lambda: Stream.current,
        get_elapsed_time=lambda start, end: 1.0,  # milliseconds, whatever it was
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda id: {"name": b"Stand-in"},
            CUDARuntimeError=RuntimeError,
        ),
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

    def gemm_ex(
        handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc, compute, algo
    ):
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


class _Epilogue(enum.IntEnum):
    GELU_AUX_BIAS, DGELU, BGRADA = 164, 192, 256


class _Description(enum.IntEnum):
    TRANSA, TRANSB, EPILOGUE, BIAS_POINTER, EPILOGUE_AUX_POINTER, EPILOGUE_AUX_LD = 3, 4, 7, 8, 11, 12


class _Preference(enum.IntEnum):
    MAX_WORKSPACE_BYTES, MIN_ALIGNMENT_A_BYTES, MIN_ALIGNMENT_B_BYTES = 1, 5, 6
    MIN_ALIGNMENT_C_BYTES, MIN_ALIGNMENT_D_BYTES = 7, 8


ATTRIBUTE_TYPES = {3: np.int32, 4: np.int32, 7: np.uint32, 8: np.int64, 11: np.int64, 12: np.int64}


def make_cublaslt():
    """cuBLASLt by its documentation: descriptors of attributes, and three epilogues on column-major matrices."""
    lt, objects = ModuleType("nvmath.bindings.cublasLt"), {}
    lt.Epilogue, lt.MatmulDescAttribute, lt.MatmulPreferenceAttribute = _Epilogue, _Description, _Preference
    lt.cuBLASLtError = type("cuBLASLtError", (Exception,), {})
    algorithm = np.dtype([("data_", np.uint64, (8,))])
    lt.matmul_heuristic_result_dtype = np.dtype(
        [("algo", algorithm), ("workspace_size", "<u8"), ("state", "<i4"), ("waves", "<f4"), ("reserved", "<i4", (4,))]
    )

    def new(*fields):
        objects[len(objects) + 1] = {"fields": fields}
        return len(objects)

    def set_attribute(which, name, pointer, nbytes):
        kind = np.dtype(ATTRIBUTE_TYPES[int(name)])
        assert nbytes == kind.itemsize
        objects[which][int(name)] = int(np.frombuffer(ctypes.string_at(pointer, nbytes), kind)[0])

    def heuristic(handle, description, a, b, c, d, preference, requested, results, count):
        assert all(x in objects for x in (description, a, b, c, d, preference))
        ctypes.memset(results, 0, requested * lt.matmul_heuristic_result_dtype.itemsize)
        ctypes.c_int32.from_address(count).value = 2

    def matmul(handle, description, alpha, a, alay, b, blay, beta, c, clay, d, dlay, algo, workspace, size, stream):
        assert ctypes.c_float.from_address(alpha).value == 1
        assert ctypes.c_float.from_address(beta).value == 0
        assert workspace
        assert stream == Stream.ptr
        said = dict(objects[description])

        def matrix(pointer, layout, transposed=False):
            kind, rows, columns, leading = objects[layout]["fields"]
            values = unpacked(_column_major(pointer, kind, rows, columns, leading).T, NUMBER[kind])
            return values.T if transposed else values

        def work():
            left, right = matrix(a, alay, said[3]), matrix(b, blay, said[4])
            with np.errstate(all="ignore"):
                product = left.astype(np.float64) @ right.astype(np.float64)  # (rows, columns)
                finish(left, product)

        def finish(left, product):
            kind, rows, columns, leading = objects[dlay]["fields"]
            if said[7] == _Epilogue.BGRADA:
                bias = _column_major(said[8], kind, rows, 1, rows)[0]
                bias[...] = packed(left.astype(np.float64).sum(axis=1), NUMBER[kind])
            else:
                aux = _column_major(said[11], kind, rows, columns, said[12])
            if said[7] == _Epilogue.GELU_AUX_BIAS:
                product = product + unpacked(_column_major(said[8], kind, rows, 1, rows)[0], NUMBER[kind])[:, None]
                aux[...] = packed(product.T, NUMBER[kind])
                product = ops.gelu_tanh_forward(product)[0]
            elif said[7] == _Epilogue.DGELU:
                z = unpacked(aux, NUMBER[kind]).T.astype(np.float64)
                product = ops.gelu_tanh_backward(product, ops.gelu_tanh_forward(z)[1])
            _column_major(d, kind, rows, columns, leading)[...] = packed(product.T, NUMBER[kind])

        LAUNCHES.append(f"cublasLt {_Epilogue(said[7]).name}")
        Stream.current.do(work)

    lt.get_version = lambda: 130000
    lt.create, lt.destroy, lt.matmul, lt.matmul_algo_get_heuristic = new, objects.pop, matmul, heuristic
    lt.matmul_desc_create = lt.matrix_layout_create = lt.matmul_preference_create = new
    lt.matmul_desc_set_attribute = set_attribute
    lt.matmul_preference_set_attribute = lambda which, name, pointer, nbytes: None
    lt.matmul_preference_destroy = lambda which: None
    return lt


@contextmanager
def fake_gpu(with_nvmath=True):
    """CuPy and nvmath-python as stand-ins; without the latter, importing it fails as where it is not installed."""
    cupy = make_cupy()
    nvmath, bindings, cublas = ModuleType("nvmath"), ModuleType("nvmath.bindings"), make_cublas()
    nvmath.bindings, bindings.cublas, bindings.cublasLt = bindings, cublas, make_cublaslt()
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
    names = ("nvmath", "nvmath.bindings", "nvmath.bindings.cublas", "nvmath.bindings.cublasLt")
    found = (nvmath, bindings, cublas, bindings.cublasLt) if with_nvmath else (None,) * 4
    modules |= dict(zip(names, found, strict=True))
    LAUNCHES.clear()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"TINYMIXER_CACHE": folder}),
        mock.patch.dict(sys.modules, modules),
    ):
        yield cupy
