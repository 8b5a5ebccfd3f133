"""A stand-in for CuPy: arrays that come to the host by `.get()` only, and refuse to become NumPy in any other way.

Like CuPy 14's, they have no `__array_namespace__`: which library they belong to is known by their class alone.
"""

import sys
from types import ModuleType

import numpy as np


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Holds a NumPy array out of NumPy's reach. It has no `setflags`: like CuPy's, it cannot be made read-only."""

    def __init__(self, array):
        self._array = np.asarray(array)

    def get(self):
        return np.array(self._array)

    def copy(self):
        return DeviceArray(self._array.copy())

    def __getattr__(self, name):
        if name != "T":
            raise AttributeError(name)
        return DeviceArray(self._array.T)

    @property
    def dtype(self):
        return self._array.dtype

    @property
    def shape(self):
        return self._array.shape

    @property
    def ndim(self):
        return self._array.ndim

    def reshape(self, *shape):
        return DeviceArray(self._array.reshape(*shape))

    def astype(self, dtype, copy=True):
        return DeviceArray(self._array.astype(dtype, copy=copy))

    def fill(self, value):
        self._array.fill(value)

    def __getitem__(self, key):
        return DeviceArray(self._array[key])

    def __setitem__(self, key, value):
        self._array[key] = _unwrapped(value)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        out = keywords.pop("out", None)
        if out is not None:
            keywords["out"] = tuple(map(_unwrapped, out))
        result = getattr(ufunc, method)(*map(_unwrapped, inputs), **keywords)
        return DeviceArray(result) if out is None else out[0]


class Library(ModuleType):
    """NumPy's functions, from device arrays to device arrays."""

    ndarray = DeviceArray

    def __getattr__(self, name):
        if name.startswith("__"):  # what the import system asks every module for
            raise AttributeError(name)
        function = getattr(np, name)

        def call(*arguments, **keywords):
            result = function(*map(_unwrapped, arguments), **keywords)
            return result if isinstance(result, bool) else DeviceArray(result)

        return call

    def asarray(self, array, dtype=None):
        return DeviceArray(np.array(_unwrapped(array), dtype=dtype))


LIBRARY = Library("device_library")
DeviceArray.__module__ = "device_library"
sys.modules["device_library"] = LIBRARY


def _unwrapped(value):
    return value._array if isinstance(value, DeviceArray) else value
