"""Kernel tests run on the emulator, which needs g++, and in a second form on a GPU."""

import pytest

from tests.kernels import emulator, on_gpu
from tests.kernels.calls import Call
from tests.kernels.emulator import COMPILER, NO_COMPILER


@pytest.fixture
def emulated():
    if COMPILER is None:
        pytest.skip(NO_COMPILER)


@pytest.fixture(params=["emulated", pytest.param("on a GPU", marks=pytest.mark.gpu)])
def machine(request, monkeypatch):
    """Where `Call.run` launches kernels."""
    if request.param == "emulated" and COMPILER is None:
        pytest.skip(NO_COMPILER)
    monkeypatch.setattr(Call, "launch", staticmethod((emulator if request.param == "emulated" else on_gpu).launch))
