"""The stand-in held to the real CuPy and nvmath-python: names, argument orders, constants. Needs them, but no GPU."""

import inspect
import re

import numpy as np
import pytest

from tests.kernels import fake_cublas, fake_cuda
from tests.kernels.fake_cupy import Device, RawModule, fake_gpu
from tinymixer.kernels import precision


def parameters(function):
    """Names of a function's parameters; compiled ones often have them in the first line of their docstring alone."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        listed = re.match(r"[\w.]+\((.*?)\)(?: ->|\n|$)", function.__doc__.strip(), re.S).group(1)
        words = [part.split("=")[0].split() for part in listed.split(",")]
        names = [part[-1] for part in words if part and part[-1] not in ("*", "/")]
    return [name for name in names if name != "self"]


def assert_calls_fit(ours, real):
    """Every call that the stand-in takes, by position or by name, means the same to the real function."""
    ours, real = parameters(ours), parameters(real)
    positions = [real.index(name) for name in ours]
    assert positions == sorted(positions), f"{ours} are in another order in {real}"
    assert positions[:1] in ([], [0]), f"{real} starts with something else than {ours}"


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy", exc_type=ImportError)


def test_arrays_and_modules(cupy):
    for name in ("asarray", "copyto", "empty", "zeros", "empty_like"):
        assert_calls_fit(getattr(fake_cuda, name), getattr(cupy, name))
    assert_calls_fit(fake_cuda.ndarray.get, cupy.ndarray.get)
    assert_calls_fit(fake_cuda.ndarray.set, cupy.ndarray.set)
    assert_calls_fit(fake_cuda.zeros(1).data.memset_async, cupy.cuda.MemoryPointer.memset_async)
    assert_calls_fit(RawModule, cupy.RawModule)
    assert parameters(cupy.RawModule.get_function) == ["name"]
    assert "shared_mem" in cupy.RawKernel.__call__.__doc__


@pytest.mark.parametrize("name", ["Stream", "Event"])
def test_streams_and_events(cupy, name):
    ours, real = getattr(fake_cuda, name), getattr(cupy.cuda, name)
    assert parameters(ours) == parameters(real)
    methods = [method for method in vars(ours) if not method.startswith("_") and callable(getattr(ours, method))]
    for method in set(methods) - {"do", "do_late", "finish"}:  # the stand-in's own
        assert parameters(getattr(ours, method)) == parameters(getattr(real, method)), method


def test_graphs_devices_and_the_rest(cupy):
    assert parameters(fake_cuda.Graph.launch) == parameters(cupy.cuda.graph.Graph.launch) == ["stream"]
    assert parameters(fake_cuda.get_elapsed_time) == parameters(cupy.cuda.get_elapsed_time)
    assert_calls_fit(Device, cupy.cuda.Device)
    assert {"attributes", "compute_capability", "mem_info", "id"} <= set(dir(cupy.cuda.Device))
    for method in ("total_bytes", "used_bytes", "free_bytes", "free_all_blocks"):
        assert hasattr(cupy.get_default_memory_pool(), method)
    assert len(parameters(cupy.cuda.alloc_pinned_memory)) == 1
    for path in ("memory.OutOfMemoryError", "compiler.CompileException", "runtime.CUDARuntimeError"):
        place, name = path.split(".")
        assert issubclass(getattr(getattr(cupy.cuda, place), name), Exception), path
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
    for name in ("getDeviceProperties", "runtimeGetVersion", "driverGetVersion"):
        assert callable(getattr(cupy.cuda.runtime, name))
    assert callable(cupy.get_default_pinned_memory_pool().free_all_blocks)


def test_cupys_own_cublas(cupy):
    """Reached as an attribute of `cupy.cuda`: importing its module finds no library that pip has installed."""
    try:
        cublas = cupy.cuda.cublas
    except ImportError as error:
        pytest.skip(str(error).splitlines()[0])
    stand_in = fake_cublas.make_cublas()
    for real, ours in (
        (cublas.gemmEx, stand_in.gemm_ex),
        (cublas.gemmStridedBatchedEx, stand_in.gemm_strided_batched_ex),
    ):
        assert [name.lower() for name in parameters(real)] == [name.replace("_", "") for name in parameters(ours)]
    assert callable(cupy.cuda.device.get_cublas_handle)


@pytest.fixture(scope="module")
def bindings():
    pytest.importorskip("nvmath", exc_type=ImportError)
    from nvmath import bindings
    from nvmath.bindings import cublas, cublasLt  # noqa: F401

    return bindings


def test_nvmaths_functions_take_what_the_stand_ins_do(bindings):
    with fake_gpu():
        import nvmath.bindings as ours
    for module, error in (("cublas", "cuBLASError"), ("cublasLt", "cuBLASLtError")):
        stand_in, real = getattr(ours, module), getattr(bindings, module)
        assert getattr(stand_in, error).__mro__[1:] == getattr(real, error).__mro__[1:]  # not a RuntimeError
        for name, function in vars(stand_in).items():
            if inspect.isfunction(function):
                assert parameters(function) == parameters(getattr(real, name)), f"{module}.{name}"


def test_cublaslts_constants_and_sizes(bindings):
    lt = bindings.cublasLt
    for name in ("Epilogue", "MatmulDescAttribute", "MatmulPreferenceAttribute"):
        for ours in getattr(fake_cublas, name):
            assert int(getattr(lt, name)[ours.name]) == ours, f"{name}.{ours.name}"
    for attribute, kind in fake_cublas.DESCRIPTION_TYPES.items():
        assert lt.get_matmul_desc_attribute_dtype(attribute) == kind, attribute
    for attribute, kind in fake_cublas.PREFERENCE_TYPES.items():
        assert lt.get_matmul_preference_attribute_dtype(attribute) == kind, attribute
    assert np.dtype(lt.matmul_heuristic_result_dtype) == fake_cublas.HEURISTIC_RESULT
    assert lt.Epilogue["GELU_AUX_BIAS"] == lt.Epilogue.GELU_AUX_BIAS


def test_the_codes_of_formats_and_of_ways_to_compute(bindings):
    compute = bindings.cublas.ComputeType
    assert int(compute.COMPUTE_32F) == precision.COMPUTE_32F
    assert int(compute.COMPUTE_32F_FAST_TF32) == precision.COMPUTE_32F_FAST_TF32
    formats = pytest.importorskip("cuda.bindings.runtime").cudaDataType
    for name in ("CUDA_R_32F", "CUDA_R_16F", "CUDA_R_16BF"):
        assert int(getattr(formats, name)) == getattr(precision, name)


def test_without_a_gpu_the_real_packages_fail_with_errors_we_expect(cupy, bindings):
    """Both ways into cuBLAS say so by a RuntimeError or ImportError, never by something that would end a run."""
    from tinymixer.backend import cupy_obstacle

    if cupy_obstacle() is None:
        pytest.skip("this machine has a GPU")
    for create in (bindings.cublas.create, bindings.cublasLt.create):
        with pytest.raises(RuntimeError):
            create()
    assert re.search("driver|GPU", cupy_obstacle())
