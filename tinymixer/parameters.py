"""All weights in one flat vector and all their gradients in another, with named, shaped views into both.

So an update is a handful of vector lines, and clipping, checkpointing and averaging are one line each. A view must
never be replaced by another array: there is no way to assign one, only to write into it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.errors import CheckpointError, ConfigError, nearest

ALIGNMENT = 16  # elements between which views start: 64 bytes in float32, so that kernels can load 16 bytes at a time
DTYPES = ("float32", "float64")

Initialise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class ParameterSpec:
    """The shape of one weight array and the function (generator, shape) -> array that draws its first values."""

    shape: tuple[int, ...]
    initialise: Initialise


Specification = Mapping[str, ParameterSpec]


def prefixed(prefix: str, specification: Specification) -> dict[str, ParameterSpec]:
    """Put "prefix." before every name, as a parent does with its children's parameters."""
    return {f"{prefix}.{name}": spec for name, spec in specification.items()}


class Parameters:
    """Named weights and gradients as views of two flat vectors.

    specification   name -> ParameterSpec, in the order of the flat vector
    backend         name or Backend that the vectors live on
    dtype           "float32" or "float64"
    seed            int or NumPy generator: the values are drawn on the host, in float64, in the order of the names,
                    so that a seed means the same weights on every backend and (to rounding) in every dtype

    `parameters["stem.weight"]` is a view of `values`, `parameters.gradient("stem.weight")` of `gradients`. Between the
    views lie up to 15 elements of padding, zero in both vectors. Raises ConfigError for another dtype.
    """

    def __init__(
        self,
        specification: Specification,
        backend: str | Backend = "numpy",
        dtype: str = "float32",
        seed: int | np.random.Generator = 0,
    ) -> None:
        if str(dtype) not in DTYPES:
            raise ConfigError(f"parameters are kept in {' or '.join(DTYPES)}, got dtype '{dtype}'")
        self._backend = get_backend(backend)
        self._shapes = {name: spec.shape for name, spec in specification.items()}
        self._offsets, size = _offsets(self._shapes)
        generator = np.random.default_rng(seed)
        host = np.zeros(size, dtype)  # (size,)
        for name, view in self.views_of(host).items():
            view[...] = specification[name].initialise(generator, view.shape)
        self._values = self._backend.asarray(host)  # (size,)
        self._gradients = self._backend.xp.zeros(size, dtype=dtype)  # (size,)
        self._make_views()

    def _make_views(self) -> None:
        self._value_views = self.views_of(self._values)
        self._gradient_views = self.views_of(self._gradients)

    def views_of(self, vector: Any) -> dict[str, Any]:
        """Named, shaped views of another flat vector of this layout (a momentum, a thread's own gradients).

        Of several, (count, size), the views are (count, *shape).
        """
        return {name: _view(vector, self._offsets[name], shape) for name, shape in self._shapes.items()}

    @property
    def values(self) -> Any:
        """The flat vector of weights, padding included."""
        return self._values

    @property
    def gradients(self) -> Any:
        """The flat vector of gradients, padding included; backward passes add to it."""
        return self._gradients

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self._values.dtype)

    @property
    def names(self) -> list[str]:
        return list(self._shapes)

    @property
    def count(self) -> int:
        """The number of parameters, padding not counted."""
        return sum(int(np.prod(shape)) for shape in self._shapes.values())

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[self._known(name)]

    def __getitem__(self, name: str) -> Any:
        """The view of the weights of that name. To change them, write into it: `parameters[name][...] = array`."""
        return self._value_views[self._known(name)]

    def gradient(self, name: str) -> Any:
        """The view of the gradient of that name."""
        return self._gradient_views[self._known(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __setitem__(self, name: str, array: Any) -> None:
        raise TypeError(f"a view cannot be replaced, only written into: parameters['{name}'][...] = array")

    def _known(self, name: str) -> str:
        if name not in self._shapes:
            raise KeyError(f"no parameter is named '{name}'.{nearest(name, self._shapes)}")
        return name

    def part(self, prefix: str) -> "Parameters":
        """The parameters below "prefix.", named without it, over the same memory.

        They must have been declared one after the other, as a layer's are; raises KeyError when there are none.
        """
        shapes, span = self._below(prefix), self.span(prefix)
        part = object.__new__(Parameters)
        part._backend, part._shapes, part._offsets = self._backend, shapes, _offsets(shapes)[0]
        part._values, part._gradients = self._values[span], self._gradients[span]
        part._make_views()
        return part

    def span(self, prefix: str) -> slice:
        """Where the parameters below "prefix." lie in the flat vectors, padding included; KeyError as for `part`."""
        shapes = self._below(prefix)
        start = self._offsets[f"{prefix}.{next(iter(shapes))}"]
        return slice(start, start + _offsets(shapes)[1])

    def _below(self, prefix: str) -> dict[str, tuple[int, ...]]:
        shapes = {
            name.removeprefix(prefix + "."): shape
            for name, shape in self._shapes.items()
            if name.startswith(prefix + ".")
        }
        if not shapes:
            raise KeyError(f"no parameter's name starts with '{prefix}.'")
        return shapes

    def zero_gradients(self) -> None:
        self._gradients.fill(0)

    def mask(self, predicate: Callable[[str, tuple[int, ...]], bool]) -> Any:
        """A flat vector that is 1 where predicate(name, shape) holds and 0 elsewhere, padding included."""
        host = np.zeros(self._values.shape, self.dtype)  # (size,)
        for name, view in self.views_of(host).items():
            view[...] = predicate(name, view.shape)
        return self._backend.asarray(host)

    def to_numpy(self, vector: Any = None) -> dict[str, np.ndarray]:
        """Host copies by name, of the weights or of another flat vector of this layout (a gradient, a momentum)."""
        host = self._backend.to_numpy(self._values if vector is None else vector)
        return {name: view.copy() for name, view in self.views_of(host).items()}

    def load(self, arrays: Mapping[str, np.ndarray], into: Any = None) -> None:
        """Write host arrays, one per name, into the weights (or into another flat vector of this layout).

        Nothing is written unless every name and shape fits. Raises CheckpointError that names the first misfit.
        """
        for name, shape in self._shapes.items():
            if name not in arrays:
                raise CheckpointError(f"the array '{name}' is missing: the weights belong to another model")
            found = arrays[name]
            if tuple(found.shape) != shape:
                raise CheckpointError(f"'{name}' should have shape {shape}, got {tuple(found.shape)}")
            if found.dtype.kind != "f":
                raise CheckpointError(f"'{name}' should hold floating-point numbers, got {found.dtype}")
        for name in arrays:
            if name not in self._shapes:
                raise CheckpointError(f"the model has no parameter '{name}': the weights belong to another model")
        host = np.zeros(self._values.shape, self.dtype)  # (size,)
        for name, view in self.views_of(host).items():
            view[...] = arrays[name]
        target = self._values if into is None else into
        target[...] = self._backend.asarray(host)


def _offsets(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], int]:
    """Where each array starts in the flat vector, and the vector's size."""
    offsets, position = {}, 0
    for name, shape in shapes.items():
        offsets[name] = position
        elements = int(np.prod(shape))
        position += -(-elements // ALIGNMENT) * ALIGNMENT
    return offsets, position


def _view(vector: Any, offset: int, shape: tuple[int, ...]) -> Any:
    return vector[..., offset : offset + int(np.prod(shape))].reshape((*vector.shape[:-1], *shape))
