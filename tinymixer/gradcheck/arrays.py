"""Small help with arrays of any library: brought to the host, found inside objects, compared, laid out in memory."""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinymixer.ops.array_library import namespace

FOREIGN = (Exception, SystemExit)  # what the code under test may raise, and a check has to survive
GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
OPAQUE = (str, bytes, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, np.generic, *GENERATORS)
DEEPEST = 12  # levels of containers and objects that are looked into

Named = dict[str, np.ndarray]
Layout = Callable[[Any], Any]
Key = tuple[str, Any]  # (".", name of an attribute) or ("[]", key or index of an item)


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


def hosts(arrays: Mapping[str, Any]) -> Named:
    """Named arrays on the host in float64."""
    return {name: host_float64(array) for name, array in arrays.items()}


def frozen(array: Any) -> Any:
    """The array, made read-only where its library can do that (NumPy can, CuPy cannot)."""
    if isinstance(array, np.ndarray):
        array.setflags(write=False)
    return array


def children(value: Any) -> dict[Key, Any]:
    """What lies directly inside a container or an object; nothing inside arrays, functions, modules, generators."""
    if isinstance(value, Mapping):
        return {("[]", key): item for key, item in value.items()}
    if isinstance(value, tuple | list | deque | set | frozenset):
        return {("[]", index): item for index, item in enumerate(value)}
    if isinstance(value, OPAQUE) or is_array(value):
        return {}
    state = object.__getstate__(value)  # the object's dict, or (dict, slots)
    dicts = state if isinstance(state, tuple) else (state,)
    return {(".", name): item for names in dicts if names for name, item in names.items()}


def walk(structure: Any, closed: Callable[[Any], bool] = is_array) -> Iterator[tuple[tuple[Key, ...], Any]]:
    """Everything inside a structure with the path to it. Objects are met once, arrays once for each name they have.

    closed   says of a value that what lies inside it is not wanted
    """
    seen: set[int] = set()
    waiting: deque[tuple[tuple[Key, ...], Any]] = deque([((), structure)])
    while waiting:
        path, value = waiting.popleft()
        plain = value is None or (isinstance(value, int | float | complex) and not isinstance(value, np.generic))
        if plain or id(value) in seen:
            continue
        yield path, value
        if not is_array(value):
            seen.add(id(value))
            if not closed(value) and len(path) < DEEPEST:
                waiting += [((*path, key), item) for key, item in children(value).items()]


def written(path: tuple[Key, ...]) -> str:
    """How a path is written: `.layers[0]['W']`."""
    return "".join(f".{key}" if kind == "." else f"[{key!r}]" for kind, key in path)


def named_arrays(structure: Any, name: str) -> dict[str, Any]:
    """Every array inside a structure, each once, by the path to it."""
    arrays = {id(value): (name + written(path), value) for path, value in [*walk(structure)][::-1] if is_array(value)}
    return dict([*arrays.values()][::-1])


def copies(arrays: Mapping[str, Any]) -> Named:
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
    if not (is_array(first) and is_array(second)) or isinstance(first, np.ndarray) != isinstance(second, np.ndarray):
        return False
    near = bool(namespace(first).may_share_memory(first, second))
    return near and (not isinstance(first, np.ndarray) or np.shares_memory(first, second))


def layouts(example: Any) -> dict[str, Layout]:
    """Ways to lay an array out in memory that are not contiguous, as far as the library of the example can."""
    if isinstance(example, np.ndarray):
        return {
            "backwards": lambda array: _within_larger(array, 2, 0, slice(None, None, -2)),
            "transposed": lambda array: _within_larger(array, 2, 0, slice(None, None, -2), order="F"),
            "gapped": lambda array: _within_larger(array, 1, 3, slice(None, -3)),  # as big[:, :n] is
        }
    library = namespace(example)
    return {"backwards": lambda array: library.asarray(np.repeat(to_host(array), 2, 0))[::2] if array.shape else array}


def _within_larger(array: np.ndarray, times: int, more: int, part: slice, order: Any = "C") -> np.ndarray:
    """A copy that is a part of a larger array, along every axis."""
    larger = np.full([times * size + more for size in array.shape], 7, array.dtype, order)
    view = larger[(Ellipsis, *[part] * array.ndim)]  # type: ignore[arg-type]  # the stubs know no such tuple
    view[...] = array
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
