"""Kernel tests run on the emulator, which needs g++."""

import pytest

from tests.kernels.emulator import COMPILER, NO_COMPILER


@pytest.fixture
def emulated():
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
