"""Which array library a model computes with: the one place that asks whether CuPy is there.

A backend is passed, never global: `MlpMixer(config, backend="cupy")`. It names the array library, moves arrays between
the host and the device, waits for the device, and says which implementation of each operation to use.
"""

import importlib
import importlib.util
import shutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np

from tinymixer import ops
from tinymixer.errors import BackendError, install_line, nearest
from tinymixer.ops.array_library import namespace
from tinymixer.ops.protocol import Operations
from tinymixer.text import reason_of

__all__ = ["BACKENDS", "Backend", "CupyBackend", "cupy_obstacle", "get_backend", "namespace"]

BACKENDS = ("auto", "numpy", "cupy")
CUDA_13, OLDEST_FOR_CUDA_13 = 13_000, 75  # CUDA Toolkit 13.0's release notes, "Deprecated Architectures"


@dataclass(frozen=True)
class Backend:
    """An array library, how arrays get there and back, and the operations that run on it.

    name     "numpy", "cupy", or the name of a stand-in
    xp       the array library's module
    ops      the operations: `tinymixer.ops`, or a namespace in which faster versions replace some of them
    reason   a clause that says why this backend was chosen, for the first lines of a run
    kernels  "auto", or "reference": use no faster version, neither of an operation nor of the whole model
    """

    name: str
    xp: Any
    ops: Operations
    reason: str = "asked for"
    kernels: str = "auto"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of a model computes with the same array library and the same operations."""
        return self

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """Move a host array to this backend (a copy only where one is needed)."""
        return self.xp.asarray(array, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Move an array of this backend to the host."""
        return np.asarray(array.get() if hasattr(array, "get") else array)

    def synchronize(self) -> None:
        """Wait until the device has finished all its work; on the host there is nothing to wait for."""


class CupyBackend(Backend):
    """CuPy on the current CUDA device."""

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


def get_backend(name: "str | Backend" = "auto", kernels: str = "auto") -> Backend:
    """Return the backend of that name; a Backend that is passed in comes back unchanged.

    name      "numpy", "cupy", or "auto": CuPy where it finds a GPU, otherwise NumPy
    kernels   "reference" for the generic operations alone, "auto" for the fastest versions that this backend has

    Raises BackendError when the name is unknown or the library cannot be used, with what to do about it.
    """
    if isinstance(name, Backend):
        return name
    if name not in BACKENDS:
        raise BackendError(f"unknown backend '{name}': expected one of {', '.join(BACKENDS)}.{nearest(name, BACKENDS)}")
    if kernels not in ("reference", "auto"):
        raise BackendError(f"unknown kernels '{kernels}': expected 'reference' or 'auto'")
    if name == "numpy":
        return Backend("numpy", np, ops, kernels=kernels)
    obstacle = cupy_obstacle()
    if obstacle is None:
        reason = "asked for" if name == "cupy" else "CuPy found a GPU"
        cupy = importlib.import_module("cupy")
        if kernels == "reference":
            return CupyBackend("cupy", cupy, ops, reason, kernels)
        from tinymixer.kernels.operations import fused_operations

        return CupyBackend("cupy", cupy, fused_operations(cupy), reason)
    if name == "cupy":
        raise BackendError(obstacle)
    return Backend("numpy", np, ops, obstacle, kernels)


def cupy_obstacle() -> str | None:
    """Say in one sentence why CuPy cannot be used here and what mends it; None when it can."""
    if importlib.util.find_spec("cupy") is None:
        if shutil.which("nvidia-smi") is None:
            return "there is no NVIDIA driver (nvidia-smi) here, and no CuPy"
        return f"CuPy is not installed: {install_line('cuda13')} (or [cuda12], to match your driver)"
    try:
        cupy: ModuleType = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy is installed but cannot be imported ({reason_of(error)}): reinstall it for your CUDA version"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy is installed but finds no usable CUDA driver ({reason_of(error)}): check that nvidia-smi works"
    if not count:
        return "CuPy is installed but this machine has no CUDA GPU"
    return _gpu_too_old(cupy) or _missing_library()


def _gpu_too_old(cupy: ModuleType) -> str | None:
    """Say where the GPU is older than CUDA 13 supports: its compiler makes no code for such a GPU."""
    capability = str(cupy.cuda.Device().compute_capability)  # "75" for 7.5
    if cupy.cuda.runtime.runtimeGetVersion() < CUDA_13 or int(capability) >= OLDEST_FOR_CUDA_13:
        return None
    return (
        f"CUDA 13 computes on GPUs of compute capability 7.5 or more, and this one has {capability[:-1]}."
        f"{capability[-1]}: uninstall cupy-cuda13x, then {install_line('cuda12')}"
    )


def _missing_library() -> str | None:
    """Say which of CUDA's libraries CuPy does not find: pip installs CuPy without them unless it is asked to."""
    try:
        library = "NVRTC, which compiles kernels"
        importlib.import_module("cupy_backends.cuda.libs.nvrtc").getVersion()
        library = "cuBLAS, which multiplies matrices"
        # Asked for as an attribute: that lets CuPy look where pip puts the library. Importing its module does not.
        importlib.import_module("cupy").cuda.cublas  # noqa: B018
    except (ImportError, RuntimeError) as error:
        return (
            f"CuPy does not find {library} ({reason_of(error)}): pip install 'cupy-cuda13x[ctk]' "
            "(or 'cupy-cuda12x[ctk]', to match your driver)"
        )
    return None
