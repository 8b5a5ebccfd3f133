"""Kernel tests run on the emulator, which needs g++."""

import pytest

from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cupy import fake_gpu


@pytest.fixture
def emulated():
    if COMPILER is None:
        pytest.skip(NO_COMPILER)


@pytest.fixture
def stand_in(emulated):
    """The stand-in for CuPy."""
    with fake_gpu() as module:
        yield module


@pytest.fixture(params=["stand-in", pytest.param("on a GPU", marks=pytest.mark.gpu)])
def cupy(request):
    """Its stand-in, and CuPy itself where there is a GPU."""
    if request.param == "stand-in":
        return request.getfixturevalue("stand_in")
    return pytest.importorskip("cupy")
