"""Reading the Python batches of CIFAR-10 and CIFAR-100 without running anything in them.

A pickle is a program: it may call any function it can name. The official batches name three things, all of NumPy, to
rebuild one array; Python 3's protocol 2 writes bytes as text to be encoded and names a fourth. This reader admits those
names and puts inert records in their place, so that no function runs on the pickle's behalf, and NumPy's own
unpickling, which trusts its input, is not reached either. Every other name is refused before it is looked up.
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
    ("_codecs", "encode"),
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
        self.arguments = tuple(map(_plain, arguments))
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = tuple(map(_plain, state)) if isinstance(state, tuple) else state


class _EncodedText(_Record):
    """Stands in for bytes as Python 3 writes them in protocol 2: text, and the name of its encoding."""


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type[_Record]:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no such batch needs")
        return _EncodedText if module_name == "_codecs" else _Record


def _plain(value: object) -> object:
    """The bytes that encoded text stands for; anything else as it is."""
    match value:
        case _EncodedText(arguments=(str(text), "latin1" | "latin-1")):
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                return value
        case _:
            return value


def read_python_batch(
    content: bytes,
    name: str,
    title: str = "CIFAR-10",
    label_entry: str = "labels",
    classes: int = 10,
    advice: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """One pickled batch -> (pixels uint8 (N, 3072), read-only; labels int64 (N,)).

    name          what to call the file in errors;  title   the data set;  advice   the last sentence of an error
    label_entry   the name under which the labels stand;  classes   how many there are

    Raises DataError when the pickle asks for anything but plain containers, text, numbers and uint8 arrays, or does not
    hold a batch.
    """
    try:
        batch = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _UNPICKLING_ERRORS as error:
        reason = str(error) or "its pickle is damaged"
        raise DataError(
            f"{name} is not a batch of {title}: {reason}. Nothing in it was run. {advice}".rstrip()
        ) from error
    labels = _entry(batch, label_entry, name, title)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"The labels in {name} are not a list of whole numbers, so it is not a batch of {title}.")
    pixels = _as_pixels(_entry(batch, "data", name, title))
    if pixels is None or len(pixels) != len(labels):
        raise DataError(
            f"The images in {name} are not a uint8 array ({len(labels)}, 3072), a row per label, "
            f"so it is not a batch of {title}."
        )
    for index, label in enumerate(labels):
        if not 0 <= label < classes:
            raise DataError(f"Record {index} of {name} has the label {label}; {title}'s labels are 0 to {classes - 1}.")
    return pixels, np.array(labels, dtype=np.int64)


def _entry(batch: object, wanted: str, name: str, title: str) -> object:
    """A value of the batch's dictionary, whose keys are bytes when Python 2 wrote it and text when Python 3 did."""
    if isinstance(batch, dict):
        for key, value in batch.items():
            if _plain(key) in (wanted.encode(), wanted):
                return value
    raise DataError(f"{name} has no entry '{wanted}', so it is not a batch of {title}.")


def _as_pixels(array: object) -> np.ndarray | None:
    """The record of a pickled array -> uint8 (N, 3072), or None when it is anything else."""
    match array:
        # Protocols 2 to 4: (version, shape, dtype, whether columns come first, content).
        case _Record(
            state=(1, (int(count), 3072), _Record(arguments=("u1" | b"u1", *_)), bool(by_columns), bytes(content))
        ):
            pass
        # Protocol 5.
        case _Record(
            arguments=(
                bytes() | bytearray() as content,
                _Record(arguments=("u1", *_)),
                (int(count), 3072),
                "C" | "F" as order,
            )
        ):
            by_columns = order == "F"
        case _:
            return None
    if len(content) != count * 3072:
        return None
    return np.frombuffer(content, dtype=np.uint8).reshape((count, 3072), order="F" if by_columns else "C")
