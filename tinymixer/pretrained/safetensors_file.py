"""Reading and writing .safetensors files, without believing what their headers say.

The format is eight bytes with the length of a header, the header (JSON: name -> dtype, shape, place of the values),
and the values. It is read here because the package of that name has no bfloat16 for NumPy and maps the whole file into
memory, while a model needs one array at a time. The tests hold reading and writing to that package.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from tinymixer.borders import guarded, opened, shown_path
from tinymixer.errors import CheckpointError
from tinymixer.npz import MOST_AXES, ArchiveError
from tinymixer.text import shortened

LONGEST_HEADER = 4 << 20  # bytes; that of Mixer-L/16 has 40,000
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "V2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
METADATA = "__metadata__"


@contextmanager
def safetensors_file(path: Path, what: str) -> Iterator["SafetensorsFile"]:
    """Open a file. Whatever goes wrong with it is raised as CheckpointError("{what}: {reason}")."""
    with opened(path, CheckpointError, shown_path(path)) as file, guarded(CheckpointError, what):
        yield SafetensorsFile(file, path.stat().st_size)


class SafetensorsFile:
    """An open file: names, dtypes and shapes of its arrays, and their values when they are asked for.

    metadata   the texts in the header, by name

    Raises ArchiveError unless the header describes exactly the bytes that follow it.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        start = file.read(8)
        if len(start) < 8:
            raise ArchiveError("it ends before its header")
        (length,) = struct.unpack("<Q", start)
        if length > size - 8:
            raise ArchiveError(f"its header claims {length:,} bytes, and the file has {size:,}")
        if length > LONGEST_HEADER:
            raise ArchiveError(f"its header has {length:,} bytes, more than the {LONGEST_HEADER:,} that are read")
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_without_repeats)
        if not isinstance(header, dict):
            raise ArchiveError("its header is no table of arrays")
        metadata = header.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ArchiveError(f"its '{METADATA}' holds other things than text")
        self.metadata: dict[str, str] = metadata
        self.begin = 8 + length
        self._entries = {name: _entry(name, value) for name, value in header.items()}
        _require_covered(self._entries, size - self.begin)

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    def header(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """dtype and shape of one array."""
        dtype, shape, _ = self._entries[name]
        return dtype, shape

    def array(self, name: str) -> np.ndarray:
        """The values of one array."""
        dtype, shape, (start, stop) = self._entries[name]
        content = bytearray(stop - start)
        self.file.seek(self.begin + start)
        if self.file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise ArchiveError(f"'{shortened(name, 60)}' is damaged: the file ends too early")
        return np.frombuffer(content, dtype).reshape(shape) if content else np.empty(shape, dtype)


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays of floating-point numbers, in their order, and texts about them."""
    names = {np.dtype(code): name for name, code in DTYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    place = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": names[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # values begin at a multiple of eight
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data.cast("B") if array.size else b"")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ArchiveError("its header names an array twice")
    return found


def _entry(name: str, value: Any) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
    """dtype, shape and place of one array. Raises ArchiveError for an entry that cannot be."""
    shown = shortened(name, 60)
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ArchiveError(f"its header does not describe '{shown}' by dtype, shape and data_offsets")
    if not isinstance(value["dtype"], str) or value["dtype"] not in DTYPES:
        raise ArchiveError(f"'{shown}' has the unknown dtype {shortened(str(value['dtype']), 20)}")
    dtype = np.dtype(DTYPES[value["dtype"]])
    shape, place = value["shape"], value["data_offsets"]
    if not _are_lengths(shape) or len(shape) > MOST_AXES:
        raise ArchiveError(f"'{shown}' has a shape that cannot be: {shortened(str(shape), 60)}")
    if not _are_lengths(place) or len(place) != 2:
        raise ArchiveError(f"'{shown}' has a place that cannot be: {shortened(str(place), 60)}")
    promised, there = math.prod(shape) * dtype.itemsize, place[1] - place[0]
    if promised != there:
        raise ArchiveError(f"'{shown}' is damaged: its shape needs {promised:,} bytes, it has {there:,}")
    return dtype, tuple(shape), (place[0], place[1])


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 60 for each in value)


def _require_covered(entries: Mapping[str, tuple[np.dtype, tuple[int, ...], tuple[int, int]]], size: int) -> None:
    """Raise ArchiveError unless the arrays lie one after the other, from the first byte to the last."""
    end = 0
    for name, (_, _, (start, stop)) in sorted(entries.items(), key=lambda item: item[1][2]):
        if start != end:
            raise ArchiveError(f"'{shortened(name, 60)}' begins at byte {start:,}, where {end:,} was expected")
        end = stop
    if end != size:
        raise ArchiveError(f"its header describes {end:,} bytes of arrays, {size:,} are there")
