"""The CuPy backend without a GPU: which obstacle is named, and which operations are chosen."""

import sys
from types import ModuleType

import pytest

from tests.kernels.fake_cupy import CAPABILITY, fake_gpu
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import cupy_obstacle, get_backend
from tinymixer.errors import BackendError


def test_a_gpu_is_taken_and_its_kernels_too():
    with fake_gpu():
        assert cupy_obstacle() is None
        backend = get_backend("auto")
        assert (backend.name, backend.reason) == ("cupy", "CuPy found a GPU")
        assert backend.ops.layer_norm_forward is not ops.layer_norm_forward
        assert backend.ops.linear_forward is ops.linear_forward
        assert get_backend("cupy", kernels="reference").ops is ops


def test_the_same_seed_gives_the_same_weights():
    with fake_gpu():
        device, host = (MlpMixer(MixerConfig(num_blocks=1), backend=b, seed=4) for b in ("cupy", "numpy"))
        assert (device.parameters.values.get() == host.parameters.values).all()


def obstacle_with(module, broken):
    with fake_gpu() as cupy:
        if module == "cupy":
            broken(cupy)
        else:
            sys.modules[module] = broken
        return cupy_obstacle()


def test_a_driver_that_is_too_old_is_named():
    def old_driver(cupy):
        class Error(RuntimeError):
            pass

        def count():
            raise Error("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

        cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.runtime.getDeviceCount = Error, count

    assert "finds no usable CUDA driver (cudaErrorInsufficientDriver" in obstacle_with("cupy", old_driver)


@pytest.mark.parametrize(
    ("capability", "cuda", "named"), [("70", 13000, True), ("75", 13000, False), ("70", 12090, False)]
)
def test_a_gpu_too_old_for_cuda_13_is_told_to_take_cuda_12(monkeypatch, capability, cuda, named):
    monkeypatch.setitem(CAPABILITY, "device", capability)
    with fake_gpu() as cupy:
        cupy.cuda.runtime.runtimeGetVersion = lambda: cuda
        sentence = cupy_obstacle()
    assert (sentence is not None) is named
    if named:
        assert "this one has 7.0" in sentence
        assert "tinymixer[cuda12]" in sentence


def test_a_missing_compiler_is_named():
    nvrtc = ModuleType("nvrtc")

    def version():
        raise RuntimeError('Failure finding "libnvrtc.so.13"')

    nvrtc.getVersion = version
    sentence = obstacle_with("cupy_backends.cuda.libs.nvrtc", nvrtc)
    assert "does not find NVRTC" in sentence
    assert "pip install 'cupy-cuda13x[ctk]'" in sentence


def test_a_missing_cublas_is_named():
    class WithoutCublas:
        @property
        def cublas(self):
            raise ImportError('Failure finding "libcublas.so.13"')

    def without_cublas(cupy):
        cupy.cuda = type("cuda", (WithoutCublas,), vars(cupy.cuda) | {"cublas": WithoutCublas.cublas})()

    sentence = obstacle_with("cupy", without_cublas)
    assert 'does not find cuBLAS, which multiplies matrices (Failure finding "libcublas.so.13")' in sentence


def test_asking_for_it_where_it_is_missing_says_why():
    if cupy_obstacle() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendError, match="CuPy"):
        get_backend("cupy")
