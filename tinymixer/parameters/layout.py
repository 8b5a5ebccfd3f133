"""Where named arrays lie in a flat vector."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinymixer.backend import Backend
from tinymixer.errors import CheckpointError, ConfigError

ALIGNMENT = 16  # elements between which views start: 64 bytes in float32, so that kernels can load 16 bytes at a time


class Layout:
    """Names, shapes and offsets of the arrays of one flat vector, and its size, padding included."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            self.offsets[name] = self.size
            self.size += _padded(shape)

    @property
    def count(self) -> int:
        """The number of elements, padding not counted."""
        return sum(map(math.prod, self.shapes.values()))

    def views_of(self, vector: Any) -> dict[str, Any]:
        """name -> view (*shape) of a vector (size,), or (count, *shape) of several, (count, size)."""
        rows = vector.shape[:-1]
        return {
            name: vector[..., self.offsets[name] : self.offsets[name] + math.prod(shape)].reshape((*rows, *shape))
            for name, shape in self.shapes.items()
        }

    def span_of(self, name: str) -> slice:
        """Where one array lies, with the padding after it."""
        start = self.offsets[name]
        return slice(start, start + _padded(self.shapes[name]))

    def part(self, prefix: str) -> tuple[slice, "Layout"]:
        """Where the arrays below "prefix." lie, and their own layout, in names without it; both may be empty.

        Raises ConfigError unless they were declared one after the other, as a layer's are.
        """
        below = {name.removeprefix(prefix + "."): name for name in self.shapes if name.startswith(prefix + ".")}
        part = Layout({short: self.shapes[name] for short, name in below.items()})
        start = self.offsets[next(iter(below.values()))] if below else 0
        for short, name in below.items():
            if self.offsets[name] != start + part.offsets[short]:
                raise ConfigError(
                    f"the parameters below '{prefix}.' cannot be one part: others were declared before '{name}'. "
                    "Declare them one after the other"
                )
        return slice(start, start + part.size), part

    def require_fit(self, arrays: Mapping[str, np.ndarray], noun: str) -> None:
        """Raise CheckpointError, naming the first misfit, unless every name, shape and kind of number fits."""
        for name, shape in self.shapes.items():
            if name not in arrays:
                raise CheckpointError(f"the array '{name}' is missing: the weights belong to another model")
            found = arrays[name]
            if tuple(found.shape) != shape:
                raise CheckpointError(f"'{name}' should have shape {shape}, got {tuple(found.shape)}")
            if found.dtype.kind != "f":
                raise CheckpointError(f"'{name}' should hold floating-point numbers, got {found.dtype}")
        for name in arrays:
            if name not in self.shapes:
                raise CheckpointError(f"the model has no {noun} '{name}': the weights belong to another model")

    def write(self, arrays: Mapping[str, np.ndarray], vector: Any, backend: Backend) -> None:
        """Write host arrays straight into the views of a vector on the backend, one array at a time."""
        for name, view in self.views_of(vector).items():
            view[...] = backend.asarray(arrays[name], dtype=vector.dtype)

    def host_copies(self, vector: Any, backend: Backend) -> dict[str, np.ndarray]:
        """name -> host copy of the arrays in a vector on the backend."""
        return {name: view.copy() for name, view in self.views_of(backend.to_numpy(vector)).items()}


def cut(vector: Any, span: slice) -> Any:
    """vector[span]; the vector itself where the span is all of it."""
    return vector if span == slice(0, vector.shape[0]) else vector[span]


def _padded(shape: tuple[int, ...]) -> int:
    """Elements that an array takes in a flat vector, with the padding after it."""
    return -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
