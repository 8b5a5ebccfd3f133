"""As much of CuPy and nvmath-python as the captured step uses, on NumPy and the kernels' emulator.

It runs launches, products and copies for real, on host memory, and keeps the rules that would otherwise only be broken
on a GPU: `fake_cuda.py` those of streams and memory, `fake_cublas.py` those of products, this file those of launches.
`fake_gpu` puts it where `import cupy` and `import nvmath` look. `test_signatures.py` holds its names, argument orders
and constants to the real packages.
"""

import importlib.machinery
import os
import sys
import tempfile
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from tests.kernels import emulator, fake_cuda, fake_cutile
from tests.kernels.fake_cublas import LAUNCHES, make_cublas, make_cublaslt
from tests.kernels.fake_cuda import MEMORY, CaptureError, Stream
from tinymixer.kernels.launch import SHARED_BYTES

__all__ = ["LAUNCHES", "MEMORY", "CaptureError", "fake_gpu"]


CAPABILITY = {"device": "80"}  # a test may put another in its place


class RawModule:
    def __init__(self, code=None, *, path=None, options=(), backend="nvrtc", name_expressions=None):
        assert isinstance(options, tuple)
        assert "--std=c++17" in options
        assert "StepState" in code
        self._names = name_expressions

    def get_function(self, name):
        assert name in self._names, f"{name} was not asked for when the module was made"
        if Stream.capture is not None:
            fake_cuda._refuse("a kernel cannot be compiled during a capture")

        def launch(grid, block, args, *, shared_mem=0):
            _require_launchable(name, grid, block, args, shared_mem)
            LAUNCHES.append(name)
            if name.startswith("hold_stream"):
                Stream.current.held = True
            Stream.current.do(lambda: emulator.launch(name, grid, block, args, shared_mem))

        return launch


def _require_launchable(name, grid, block, args, shared_mem):
    """What CuPy and the driver refuse."""
    assert isinstance(grid, tuple)
    assert isinstance(block, tuple)
    assert isinstance(args, tuple)
    assert all(type(size) is int and size >= 1 for size in (*grid, *block)), f"{name}: {grid} {block}"
    assert grid[0] < 2**31
    assert max(grid[1:]) <= 65535
    assert 1 <= np.prod(block) <= 1024
    assert shared_mem <= SHARED_BYTES
    for argument in args:
        if not isinstance(argument, fake_cuda.ndarray | np.generic):
            raise TypeError(f"Unsupported type {type(argument)}")  # a NumPy array lies on the host


class Device:
    def __init__(self, device=None):
        self.id, self.attributes = 0, {"MultiProcessorCount": 3}
        self.compute_capability = CAPABILITY["device"]

    @property
    def mem_info(self):
        return MEMORY.free, 2 * MEMORY.free


def make_cupy():
    cupy = ModuleType("cupy")
    cupy.__spec__, cupy.__version__ = importlib.machinery.ModuleSpec("cupy", None), "stand-in"
    names = "abs arange broadcast_to exp log max mean minimum sqrt stack sum take tanh where"
    for name in names.split():
        setattr(cupy, name, getattr(np, name))
    for name in ("asarray", "copyto", "empty", "empty_like", "ndarray", "zeros"):
        setattr(cupy, name, getattr(fake_cuda, name))
    cupy.zeros_like = np.zeros_like
    cupy.RawModule = RawModule
    cupy.get_default_memory_pool = cupy.get_default_pinned_memory_pool = lambda: MEMORY
    cupy.cuda = SimpleNamespace(
        Stream=Stream,
        Event=fake_cuda.Event,
        Device=Device,
        alloc_pinned_memory=fake_cuda.PinnedMemory,
        set_allocator=lambda allocator=None: None,
        memory=SimpleNamespace(OutOfMemoryError=fake_cuda.OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=type("CompileException", (Exception,), {})),
        function=SimpleNamespace(Module=fake_cutile.Module),
        get_current_stream=lambda: Stream.current,
        get_elapsed_time=fake_cuda.get_elapsed_time,
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda device: {"name": b"Stand-in", "totalGlobalMem": 2 * MEMORY.free},
            runtimeGetVersion=lambda: 13000,
            driverGetVersion=lambda: 13000,
            CUDARuntimeError=fake_cuda.CUDARuntimeError,
        ),
    )
    return cupy


def _cublas_of_cupy(cupy):
    """CuPy's own cuBLAS and its handle, which follow the current stream and refuse to be captured."""
    cublas = make_cublas()
    handle, workspace = cublas.create(), fake_cuda.empty(256, np.uint8)

    def on_the_current_stream(multiply, arguments):
        if Stream.capture is not None:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        cublas.set_stream(handle, Stream.current.ptr)
        cublas.set_workspace(handle, workspace.data.ptr, workspace.nbytes)
        multiply(*arguments)

    cupy.cuda.cublas = SimpleNamespace(
        gemmEx=lambda *arguments: on_the_current_stream(cublas.gemm_ex, arguments),
        gemmStridedBatchedEx=lambda *arguments: on_the_current_stream(cublas.gemm_strided_batched_ex, arguments),
    )
    cupy.cuda.device = SimpleNamespace(get_cublas_handle=lambda: handle)


@contextmanager
def fake_gpu(with_nvmath=True):
    """CuPy and nvmath-python as stand-ins; without the latter, importing it fails as where it is not installed."""
    cupy = make_cupy()
    _cublas_of_cupy(cupy)
    nvmath, bindings, cublas = ModuleType("nvmath"), ModuleType("nvmath.bindings"), make_cublas()
    nvmath.bindings, bindings.cublas, bindings.cublasLt = bindings, cublas, make_cublaslt()
    nvrtc = ModuleType("cupy_backends.cuda.libs.nvrtc")
    nvrtc.getVersion = lambda: (13, 0)
    # Its module finds no library before `cupy.cuda.cublas` was asked for: pip puts that where the linker does not look.
    modules = {"cupy": cupy, "cupy_backends.cuda.libs.cublas": None, nvrtc.__name__: nvrtc}
    names = ("nvmath", "nvmath.bindings", "nvmath.bindings.cublas", "nvmath.bindings.cublasLt")
    found = (nvmath, bindings, cublas, bindings.cublasLt) if with_nvmath else (None,) * 4
    modules |= dict(zip(names, found, strict=True))
    LAUNCHES.clear()
    Stream.current, Stream.capture = Stream.null, None
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"TINYMIXER_CACHE": folder}),
        mock.patch.dict(sys.modules, modules),
    ):
        yield cupy
