"""Reading CIFAR-10's Python batches without running anything in them.

A pickle is a program: it may call any function it can name. The official batches name three things, all of NumPy, to
rebuild one array. This reader admits those names and puts inert records in their place, so that no function runs on
the pickle's behalf, and NumPy's own unpickling, which trusts its input, is not reached either. Every other name is
refused before it is looked up.
"""

import io
import pickle

import numpy as np

from tinymixer.errors import DataError

# How NumPy writes an array: `_reconstruct` in protocols 2 to 4, `_frombuffer` in protocol 5; NumPy 2 renamed `core`.
_ADMITTED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
}

# What a damaged or hostile pickle can make the reader raise; the documentation of pickle calls its own list incomplete.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Record:
    """Stands in for an object of NumPy's: keeps what the pickle says of it, does nothing with it."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type[_Record]:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no batch of CIFAR-10 needs")
        return _Record


def read_python_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One pickled batch -> (pixels uint8 (N, 3072), read-only; labels int64 (N,)).

    name: what to call the file in errors. Raises DataError when the pickle asks for anything but plain containers,
    text, numbers and uint8 arrays, or does not hold a batch.
    """
    try:
        batch = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _UNPICKLING_ERRORS as error:
        reason = str(error) or "its pickle is damaged"
        raise DataError(
            f"{name} is not a batch of CIFAR-10: {reason}. Nothing in it was run. "
            "Fetch CIFAR-10 again with `tinymixer data fetch cifar10`."
        ) from error
    labels = _field(batch, "labels", name)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"The labels in {name} are not a list of whole numbers, so it is not a batch of CIFAR-10.")
    pixels = _as_pixels(_field(batch, "data", name))
    if pixels is None or len(pixels) != len(labels):
        raise DataError(
            f"The images in {name} are not a uint8 array ({len(labels)}, 3072), a row per label, "
            "so it is not a batch of CIFAR-10."
        )
    for index, label in enumerate(labels):
        if not 0 <= label <= 9:
            raise DataError(f"Record {index} of {name} has the label {label}; CIFAR-10's labels are 0 to 9.")
    return pixels, np.array(labels, dtype=np.int64)


def _field(batch: object, field: str, name: str) -> object:
    """A value of the batch's dictionary, whose keys are bytes when Python 2 wrote it and text when Python 3 did."""
    if isinstance(batch, dict):
        for key in (field.encode(), field):
            if key in batch:
                return batch[key]
    raise DataError(f"{name} has no entry '{field}', so it is not a batch of CIFAR-10.")


def _as_pixels(array: object) -> np.ndarray | None:
    """The record of a pickled array, row by row -> uint8 (N, 3072), or None when it is anything else."""
    match array:
        case _Record(state=(1, (int(count), 3072), _Record(arguments=("u1" | b"u1", *_)), False, bytes(content))):
            pass
        case _Record(
            arguments=(bytes() | bytearray() as content, _Record(arguments=("u1", *_)), (int(count), 3072), "C")
        ):
            pass
        case _:
            return None
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 3072) if len(content) == count * 3072 else None
