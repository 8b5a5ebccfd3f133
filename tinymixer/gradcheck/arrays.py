"""Small help with arrays, the same for every array library: to the host, read-only, copied, compared bit for bit."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinymixer.ops.array_library import namespace

# What a forward raises when it cannot work with an input it was not made for (complex numbers, a flipped sign).
REFUSALS = (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError)


def is_array(value: object) -> bool:
    """Whether the value is an array of some library (a NumPy scalar such as np.float64(3) counts as a plain number)."""
    if isinstance(value, np.generic) or not hasattr(value, "dtype"):
        return False
    if hasattr(value, "__array_namespace__"):
        return True
    library = sys.modules.get(type(value).__module__.partition(".")[0])  # CuPy's arrays are known by their class alone
    return isinstance(value, getattr(library, "ndarray", ()))


def is_differentiable(value: Any) -> bool:
    """Whether the checker differentiates by this input: arrays of floats are, labels, masks and numbers are not."""
    return is_array(value) and np.dtype(value.dtype).kind == "f"


def to_host(array: Any) -> np.ndarray:
    """The array as a NumPy array (CuPy's arrays are fetched with `.get()`)."""
    fetch = getattr(array, "get", None)
    return np.asarray(fetch() if callable(fetch) else array)


def host_float64(array: Any) -> np.ndarray:
    """A float64 copy on the host; complex numbers stay complex."""
    host = to_host(array)
    return np.array(host, dtype=np.complex128 if host.dtype.kind == "c" else np.float64)


def frozen(array: Any) -> Any:
    """The array, made read-only where its library can do that (NumPy can, CuPy cannot)."""
    if isinstance(array, np.ndarray):
        array.setflags(write=False)
    return array


def arrays_in(structure: Any) -> list[Any]:
    """Every array inside a cache: tuples, lists, dicts and the attributes of plain objects are looked into."""
    if is_array(structure):
        return [structure]
    if isinstance(structure, Mapping):
        return [array for value in structure.values() for array in arrays_in(value)]
    if isinstance(structure, tuple | list):
        return [array for value in structure for array in arrays_in(value)]
    return []


def snapshot(structure: Any) -> list[np.ndarray]:
    """Host copies of every array inside a structure, to be compared later."""
    return [np.array(to_host(array)) for array in arrays_in(structure)]


def identical(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal bit for bit: the same dtype, shape and bytes (NaN equals the same NaN)."""
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def shares_memory(first: Any, second: Any) -> bool:
    """Whether two arrays lie, even partly, in the same memory."""
    if not (is_array(first) and is_array(second)):
        return False
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.shares_memory(first, second)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return False
    return bool(namespace(first).may_share_memory(first, second))


def strided(host: np.ndarray, transposed: bool) -> np.ndarray:
    """A copy with the same values that is not contiguous: every second element, backwards, of a larger array.

    With `transposed` that array lies in memory with its axes in reverse order.
    """
    if host.ndim == 0:
        return np.array(host)
    room = np.full(tuple(2 * size for size in host.shape), 7.0, dtype=host.dtype, order="F" if transposed else "C")
    view = room[tuple(slice(None, None, -2) for _ in host.shape)]
    view[...] = host
    return view


def largest(array: np.ndarray) -> float:
    """The largest magnitude among the finite elements, 0 where there are none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def place_of(name: str, shape: tuple[int, ...], flat_index: int) -> str:
    """How an element is written: `x[1, 0, 3]`, or `loss` alone where there is only one."""
    if not shape:
        return name
    return f"{name}[{', '.join(str(int(i)) for i in np.unravel_index(flat_index, shape))}]"
