"""Small help with arrays, the same for every array library: to the host, read-only, found in a structure, laid out."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinymixer.ops.array_library import namespace

FOREIGN = (Exception, SystemExit)  # what the code under test may raise, and a check has to survive
OPAQUE = (str, bytes, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, np.generic, np.random.Generator)
DEEPEST = 12  # levels of containers and objects that are looked into


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


def attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object keeps, in its `__dict__` or its slots; none of functions, classes and modules."""
    if isinstance(value, OPAQUE) or is_array(value):
        return {}
    slots = [name for kind in type(value).__mro__ for name in np.atleast_1d(getattr(kind, "__slots__", ())).tolist()]
    kept = {name: getattr(value, name) for name in slots if hasattr(value, name) and name != "__dict__"}
    return {**kept, **getattr(value, "__dict__", {})}


def children(value: Any) -> dict[str, Any]:
    """What lies directly inside a container or an object, by how it is written: `[0]`, `['w']`, `.room`."""
    if isinstance(value, Mapping):
        return {f"[{key!r}]": item for key, item in value.items()}
    if isinstance(value, tuple | list | deque | set | frozenset):
        return {f"[{index}]": item for index, item in enumerate(value)}
    return {f".{name}": item for name, item in attributes(value).items()}


def walk(structure: Any, name: str = "", closed: Callable[[Any], bool] = is_array) -> Iterator[tuple[str, Any]]:
    """Everything inside a structure, each once, with the path to it: containers and objects of any class are opened.

    closed   says of a value that it is not to be opened
    """
    seen: set[int] = set()
    waiting = deque([(name, structure, 0)])
    while waiting:
        path, value, depth = waiting.popleft()
        if id(value) in seen or value is None or isinstance(value, int | float | complex):
            continue
        seen.add(id(value))
        yield path, value
        if depth < DEEPEST and not closed(value):
            waiting += [(path + key, item, depth + 1) for key, item in children(value).items()]


def named_arrays(structure: Any, name: str) -> dict[str, Any]:
    """Every array inside a structure, each once, by the path to it."""
    return {path: value for path, value in walk(structure, name) if is_array(value)}


def copies(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Host copies of named arrays, to be compared later."""
    return {name: np.array(to_host(array)) for name, array in arrays.items()}


def identical(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal bit for bit: the same dtype, shape and bytes (NaN equals the same NaN)."""
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def changed(before: Mapping[str, np.ndarray], arrays: Mapping[str, Any]) -> list[str]:
    """The names of the arrays that are no longer, bit for bit, as they were."""
    return [name for name, old in before.items() if not identical(old, to_host(arrays[name]))]


def shares_memory(first: Any, second: Any) -> bool:
    """Whether two arrays lie, even partly, in the same memory."""
    if not (is_array(first) and is_array(second)):
        return False
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.may_share_memory(first, second) and np.shares_memory(first, second)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return False
    return bool(namespace(first).may_share_memory(first, second))


def backwards(host: np.ndarray, order: str = "C") -> np.ndarray:
    """A copy that is not contiguous: every second element, backwards, of a larger array in order C or F."""
    if host.ndim == 0:
        return np.array(host)
    larger = np.full(tuple(2 * size for size in host.shape), 7.0, dtype=host.dtype, order=order)  # type: ignore[call-overload]
    view = larger[tuple(slice(None, None, -2) for _ in host.shape)]
    view[...] = host
    return view


def gapped(host: np.ndarray) -> np.ndarray:
    """A copy whose rows have gaps between them, as big[:, :n] has; its elements lie side by side."""
    if host.ndim == 0:
        return np.array(host)
    larger = np.full((*host.shape[:-1], host.shape[-1] + 3), 7.0, dtype=host.dtype)
    view = larger[..., : host.shape[-1]]
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
