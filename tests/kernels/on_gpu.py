"""The emulator's place taken by a GPU: the same calls, the same guards, compiled by NVRTC."""

import functools

import numpy as np

from tests.kernels.emulator import Guarded, kernel_names, number_of
from tinymixer.kernels.launch import Launch
from tinymixer.kernels.modules import Kernels


@functools.cache
def compiled(number: str) -> Kernels:
    import cupy

    return Kernels(cupy, kernel_names(number))


def launch(name, grid, block, arguments, shared_mem=0, reversed_order=False):
    """Copy every guarded array to the GPU with its surroundings, launch, and copy all of them back."""
    import cupy

    guards = {id(guard): guard for guard in map(_guard_of, arguments) if guard is not None}
    device = {key: cupy.asarray(guard.surrounded()) for key, guard in guards.items()}
    passed = [
        argument if isinstance(argument, np.generic) else device[id(_guard_of(argument))][_start_of(argument) :]
        for argument in arguments
    ]
    compiled(number_of(name)).launch(name, Launch(grid, block, shared_mem), *passed)
    for key, guard in guards.items():
        guard.surrounded()[...] = device[key].get()


def _guard_of(argument):
    return argument if isinstance(argument, Guarded) else getattr(argument, "guard", None)


def _start_of(argument) -> int:
    return Guarded.MARGIN + getattr(argument, "offset", 0)
