"""Loads the CUDA sources and compiles them.

The .cu files are package data. CuPy compiles them with NVRTC when they are first used and keeps the result on disk
(`~/.cupy/kernel_cache`, or CUPY_CACHE_DIR), so only the first run on a machine waits. Kernels are C++ templates over
the working format, the vector width and the like; a kernel is asked for by its full name, such as
`layer_norm_forward<__half, 8, 1, 16>`, and only what a model needs is compiled.
"""

import functools
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import numpy as np

from tinymixer.errors import BackendError
from tinymixer.kernels.launch import Launch
from tinymixer.text import reason_of

SOURCES = (
    "gelu",
    "layer_norm",
    "sums",
    "cross_entropy",
    "patches",
    "augment",
    "muon",
    "optimizer",
    "bernoulli_masks",
    "stage",
    "hold",
)
COMMON = "common.cuh"
OPTIONS = ("--std=c++17",)


@functools.cache
def source(name: str) -> str:
    """The text of `cuda/<name>`."""
    return resources.files("tinymixer.kernels").joinpath("cuda", name).read_text(encoding="utf-8")


def translation_unit(names: Iterable[str] = SOURCES) -> str:
    """Some .cu files as one text with the common header in front.

    The header is pasted in instead of included, so that CuPy's cache notices every change of it.
    """
    include = f'#include "{COMMON}"\n'
    parts = [source(COMMON).replace("#pragma once\n", "")]
    parts += [source(f"{name}.cu").replace(include, "") for name in names]
    return "\n".join(parts)


class Kernels:
    """Compiled kernels, by their full names, on the current device.

    cupy    the CuPy module (or a stand-in)
    names   full names of the kernels that will be launched

    Raises BackendError, in a sentence, when they cannot be compiled.
    """

    def __init__(self, cupy: Any, names: Iterable[str]) -> None:
        self._cupy = cupy
        names = sorted(set(names))
        try:
            module = cupy.RawModule(code=translation_unit(), options=OPTIONS, name_expressions=names)
            self._functions: Mapping[str, Any] = {name: module.get_function(name) for name in names}
        except (cupy.cuda.compiler.CompileException, RuntimeError, ImportError, OSError) as error:
            raise BackendError(
                f"the CUDA kernels cannot be compiled ({reason_of(error)}): install CUDA's headers and NVRTC with "
                "pip install 'cupy-cuda13x[ctk]', or go without them: --kernels reference"
            ) from error

    def launch(self, name: str, layout: Launch, *arguments: Any) -> None:
        """Start a kernel on the current stream.

        Arrays are passed as they are and None as a null pointer. Numbers must be NumPy scalars of the kernel's own
        type: CuPy would silently pass a Python int as 64 bits and a Python float as a double, so both are refused
        (TypeError). So is an array that is not in C order (ValueError): a kernel would take its numbers for others.
        """
        self._functions[name](
            (*layout.grid, 1), (*layout.block, 1), tuple(map(_argument, arguments)), shared_mem=layout.shared
        )


def _argument(value: Any) -> Any:
    if value is None:
        return np.intp(0)
    if isinstance(value, bool | int | float):
        raise TypeError(f"a kernel needs to know how many bytes {value!r} has: pass np.int32, np.int64 or np.float32")
    require_flat(value)
    return value


def require_flat(*arrays: Any) -> None:
    """Raise ValueError for an array whose memory is not its numbers in C order: kernels and libraries read memory."""
    for array in arrays:
        if not array.flags.c_contiguous:
            raise ValueError(
                f"a kernel reads memory in C order, and an array of shape {array.shape} with strides of "
                f"{array.strides} bytes is not: copy it into a new array first"
            )
