"""Reading arrays from a file straight into a model's parameters, one at a time."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinymixer.borders import shown_path
from tinymixer.errors import CheckpointError
from tinymixer.parameters import Parameters
from tinymixer.pretrained.array_file import ArrayFile
from tinymixer.text import shortened

Turn = Callable[[Any], Any]  # an array of a file -> a view of it with our axes


def fill(parameters: Parameters, file: ArrayFile, places: Iterable[tuple[str, str, Turn]]) -> None:
    """Write arrays into the parameters: (our name, the file's name, how its axes are turned) for each.

    A model is in memory once: besides it there is one array at a time. Raises CheckpointError, naming the array, for
    one that holds no floating-point numbers, or numbers that are not finite.
    """
    for ours, theirs, turn in places:
        array = turn(finite(file, theirs))
        view = parameters[ours]
        view.reshape(array.shape)[...] = parameters.backend.asarray(array, dtype=parameters.dtype)


def finite(file: ArrayFile, name: str) -> np.ndarray:
    """An array of finite floating-point numbers. Raises CheckpointError, naming it, for another one."""
    where, dtype = f"'{shortened(name, 80)}' in {shown_path(file.path)}", file.header(name)[0]
    if dtype not in ("float16", "bfloat16", "float32", "float64"):
        raise CheckpointError(f"{where} should hold floating-point numbers, got {dtype}")
    array = file.array(name)
    if not np.isfinite(array).all():
        count = array.size - int(np.count_nonzero(np.isfinite(array)))
        raise CheckpointError(f"{where} holds {count:,} numbers that are not finite (of {array.size:,}, {array.shape})")
    return array


class Digest:
    """SHA-256 over arrays that come one at a time, in any order."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, array: np.ndarray) -> None:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        content = hashlib.sha256(plain.data.cast("B") if plain.size else b"").hexdigest()
        self._lines.append(f"{name} {plain.dtype.str} {array.shape} {content}\n")

    def hexdigest(self, text: str) -> str:
        """Of all arrays, and of a text about them."""
        return hashlib.sha256(("".join(sorted(self._lines)) + text).encode()).hexdigest()
