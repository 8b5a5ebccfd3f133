"""A stand-in array library that has what `tinymixer.ops.array_library` lists and nothing else.

It plays the part of CuPy where there is no GPU: an operation that asks for another function, mixes in a NumPy array,
or lets an array turn into NumPy, a bool or a float behind our back (which would make a GPU wait) fails here.
"""

from operator import attrgetter

import numpy as np

from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.ops import array_library


class NotAllowedError(Exception):
    """The code under test went beyond the documented part of the array library."""


def _unwrap(value):
    if isinstance(value, StrictArray):
        return value._array
    if isinstance(value, np.ndarray) and value.ndim:
        raise NotAllowedError("a NumPy array was mixed with arrays of another library")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item) for item in value)
    return value


def _wrap(value):
    return StrictArray(value) if isinstance(value, np.ndarray | np.generic) else value


class StrictArray:
    """Holds a NumPy array and admits only the listed attributes, methods and Python's arithmetic."""

    __array_ufunc__ = None  # NumPy must not take over `numpy_array * strict_array`
    __hash__ = None

    def __init__(self, array):
        self._array = np.asarray(array)

    def __getattr__(self, name):
        if name in array_library.ATTRIBUTES:
            return _wrap(value) if isinstance(value := getattr(self._array, name), np.ndarray) else value
        if name in array_library.METHODS:
            method = getattr(self._array, name)
            return lambda *arguments, **keywords: _wrap(method(*map(_unwrap, arguments), **keywords))
        raise NotAllowedError(f"array.{name} is not in tinymixer.ops.array_library")

    def __array_namespace__(self, api_version=None):
        return NAMESPACE

    def __getitem__(self, key):
        return _wrap(self._array[_unwrap(key)])

    def __setitem__(self, key, value):
        self._array[_unwrap(key)] = _unwrap(value)

    def _refuse(self, *arguments, **keywords):
        raise NotAllowedError("a device array was turned into a NumPy array, a number or a truth value")

    __array__ = __float__ = __int__ = __bool__ = __index__ = __len__ = __iter__ = _refuse


def _binary(name):
    def operator(self, other):
        result = getattr(self._array, name)(_unwrap(other))
        return result if result is NotImplemented else _wrap(result)

    return operator


def _in_place(name):
    def operator(self, other):
        getattr(self._array, name)(_unwrap(other))
        return self

    return operator


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow", "and", "xor", "rshift"):
    setattr(StrictArray, f"__{_name}__", _binary(f"__{_name}__"))
    setattr(StrictArray, f"__r{_name}__", _binary(f"__r{_name}__"))
for _name in ("add", "sub", "mul", "truediv"):
    setattr(StrictArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(StrictArray, f"__{_name}__", _binary(f"__{_name}__"))
StrictArray.__neg__ = lambda self: _wrap(-self._array)


class StrictNamespace:
    """The module of the stand-in library, or with a prefix such as "lib." a module in it."""

    def __init__(self, prefix=""):
        self._prefix = prefix

    def __getattr__(self, name):
        name = self._prefix + name
        if any(function.startswith(f"{name}.") for function in array_library.FUNCTIONS):
            return StrictNamespace(f"{name}.")
        if name not in array_library.FUNCTIONS:
            raise NotAllowedError(f"xp.{name} is not in tinymixer.ops.array_library")
        function = attrgetter(name)(np)

        def call(*arguments, **keywords):
            moves_to_the_device = name == "asarray"
            if not moves_to_the_device and any(isinstance(a, np.ndarray) and a.ndim for a in arguments):
                raise NotAllowedError(f"xp.{name} was given a NumPy array")
            keywords = {key: _unwrap(value) for key, value in keywords.items()}
            arguments = arguments if moves_to_the_device else map(_unwrap, arguments)
            return _wrap(function(*arguments, **keywords))

        return call


NAMESPACE = StrictNamespace()


class StrictBackend(Backend):
    """A backend over the stand-in library; only it may move arrays to the host and back."""

    def asarray(self, array, dtype=None):
        return StrictArray(np.array(array, dtype=dtype))

    def to_numpy(self, array):
        return np.array(_unwrap(array))


STRICT = StrictBackend("strict", NAMESPACE, ops)
