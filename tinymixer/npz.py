"""Reads the arrays of an .npz file safely: nothing is unpickled, and everything that the file claims is checked.

An .npz file is a zip archive of .npy members; a member is a magic number, a header that says dtype and shape as a
Python dictionary in text, and the values. NumPy's reader evaluates that text and takes memory for what it says. Here
the header has to have the form that NumPy writes, and to promise exactly the bytes that its member has.
"""

import math
import re
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from tinymixer.borders import guarded, opened
from tinymixer.errors import TinymixerError
from tinymixer.text import shortened

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 4096
MOST_AXES = 32
# The dictionary's entries, in any order: 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), with any spaces.
ENTRY = re.compile(
    r"\s*(?:'descr'\s*:\s*'(?P<descr>[<>|=]?[?a-zA-Z][0-9]{0,9})'"
    r"|'fortran_order'\s*:\s*(?P<order>True|False)"
    r"|'shape'\s*:\s*\((?P<shape>[0-9L,\s]{0,800})\))\s*(?:,\s*|(?=\}))"
)
KINDS = "biufUS"  # truth values, whole and floating-point numbers, text, bytes
BFLOAT16 = np.dtype("V2")  # what NumPy makes of bfloat16, for which it has no name: two bytes of anything
# An archive may unpack to this many times its own size, and always to this many bytes. A bomb unpacks a thousandfold.
MOST_SQUEEZED = 100
SMALL = 1 << 28
WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # in which NumPy writes members


OBJECTS = "is never unpickled: arrays of Python objects are refused"


class ArchiveError(ValueError):
    """Why an archive or a member is not read: the inner part of a sentence."""


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to an .npz file, uncompressed. Nothing is pickled: raises TypeError for arrays of objects.

    np.savez can be told so only from NumPy 2.1 on. In 2.0, its `allow_pickle=False` would be one more array.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"'{name}' is an array of Python objects, which are never pickled")
    np.savez(file, **arrays)  # type: ignore[arg-type]  # an array might be called allow_pickle; none is


@contextmanager
def npz_file(path: Path, error_class: type[TinymixerError], what: str, advice: str = "") -> Iterator["NpzFile"]:
    """Open an .npz file. Whatever goes wrong with it is raised as `error_class("{what}: {reason}{advice}")`."""
    with opened(path, error_class) as file, guarded(error_class, what, advice), zipfile.ZipFile(file) as archive:
        yield NpzFile(archive, path.stat().st_size)


class NpzFile:
    """An open .npz file: `names`, and `read` for the arrays of some of them.

    Raises ArchiveError for members that overlap, that have the same name, or that no .npz file has.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.size = archive, size
        members = archive.infolist()
        # Members that share their bytes are how a small archive makes a reader work for ever.
        if sum(member.compress_size + 30 for member in members) > size:
            raise ArchiveError("its directory names more bytes than the file has")
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in self.members:
                raise ArchiveError(f"it holds '{shortened(name, 60)}' twice")
            self.members[name] = member

    @property
    def names(self) -> list[str]:
        return list(self.members)

    def read(self, names: Collection[str], compressed: bool) -> dict[str, np.ndarray]:
        """The arrays of these names. compressed: whether their members may be (deflated, and within bounds)."""
        self.require_bounded(names, compressed)
        return {name: self.array(name) for name in names}

    def require_bounded(
        self, names: Collection[str], compressed: bool, small: int = SMALL, squeezed: int = MOST_SQUEEZED
    ) -> None:
        """Raise ArchiveError unless these members are plain, and together within the bounds. Nothing is read.

        small      bytes that they may unpack to in any case;  squeezed   times the archive's size, at most
        """
        for name in names:
            self._require_plain(self.members[name], compressed)
        if sum(self.members[name].file_size for name in names) > max(small, squeezed * self.size):
            raise ArchiveError(
                f"it would unpack to over {squeezed} times its size, which no images or weights do. If they really are "
                "so alike, save them without compression, np.savez"
            )

    def array(self, name: str, bfloat16: bool = False) -> np.ndarray:
        """One array; call `require_bounded` first. bfloat16: whether it may have that dtype (`BFLOAT16`)."""
        with self.archive.open(self.members[name]) as member_file, _named(name):
            return read_array(member_file, self.members[name].file_size, bfloat16)

    def header(self, name: str, bfloat16: bool = False) -> tuple[np.dtype, tuple[int, ...]]:
        """dtype and shape of one array, whose values are not read. Raises ArchiveError as `array` does."""
        with self.archive.open(self.members[name]) as member_file, _named(name):
            dtype, shape, _, start = read_header(member_file, bfloat16)
            _require_length(dtype, shape, self.members[name].file_size - start)
        return dtype, shape

    @staticmethod
    def _require_plain(member: zipfile.ZipInfo, compressed: bool) -> None:
        name = shortened(member.filename, 60)
        if not member.filename.endswith(".npy"):
            raise ArchiveError(f"'{name}' is no array")
        if member.flag_bits & 0x1:
            raise ArchiveError(f"'{name}' is encrypted")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ArchiveError(f"'{name}' has two lengths")
        if member.compress_type not in (WAYS if compressed else WAYS[:1]):
            how = (
                "are compressed in a way that NumPy never uses"
                if compressed
                else "are compressed, which ours never are"
            )
            raise ArchiveError(f"its arrays {how}")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the array's name before what is wrong with it."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"its '{shortened(name, 60)}' {error}") from error


def read_array(member_file: IO[bytes], size: int, bfloat16: bool = False) -> np.ndarray:
    """Read the array of a .npy member of `size` bytes to its end, where zipfile compares the check sum.

    Raises ArchiveError unless header and size agree to the byte.
    """
    dtype, shape, columns_first, start = read_header(member_file, bfloat16)
    _require_length(dtype, shape, size - start)
    if size == start:
        return np.empty(shape, dtype)
    content = bytearray(size - start)
    view, filled = memoryview(content), 0
    while filled < len(content) and (count := member_file.readinto(view[filled : filled + (1 << 20)])):  # type: ignore[attr-defined]
        filled += count
    if filled < len(content) or member_file.read(1):
        raise ArchiveError("is damaged: it ends too early")
    array = np.frombuffer(content, dtype)
    array = array.reshape(shape[::-1]).T if columns_first else array.reshape(shape)
    return array.copy() if columns_first and array.ndim > 1 else array


def _require_length(dtype: np.dtype, shape: tuple[int, ...], there: int) -> None:
    if math.prod(shape) * dtype.itemsize != there:
        raise ArchiveError(
            f"is damaged: its header promises {math.prod(shape) * dtype.itemsize:,} bytes, {there:,} are there"
        )


def read_header(member_file: IO[bytes], bfloat16: bool = False) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """dtype, shape, whether columns come first, and where the values begin.

    Raises ArchiveError for anything that NumPy does not write for an array of numbers or text.
    """
    start = member_file.read(8)
    if len(start) < 8 or start[:6] != MAGIC:
        raise ArchiveError("is no array")
    wide = start[6] in (2, 3)
    if start[6] not in (1, 2, 3) or start[7]:
        raise ArchiveError(f"has version {start[6]}.{start[7]} of NumPy's format, known are 1.0, 2.0 and 3.0")
    length_bytes = member_file.read(4 if wide else 2)
    if len(length_bytes) < (4 if wide else 2):
        raise ArchiveError("is damaged: it ends in its header")
    (length,) = struct.unpack("<I" if wide else "<H", length_bytes)
    if length > LONGEST_HEADER:
        raise ArchiveError(f"has a header of {length:,} bytes, where an array needs about a hundred")
    text = member_file.read(length).decode("latin-1").strip()
    entries: dict[str, str] = {}
    place = 1
    while match := ENTRY.match(text, place):
        ((key, value),) = ((key, value) for key, value in match.groupdict().items() if value is not None)
        if key in entries:
            break
        entries[key], place = value, match.end()
    if not text.startswith("{") or text[place:] != "}" or len(entries) != 3:
        if "|O" in text:
            raise ArchiveError(OBJECTS)
        raise ArchiveError(f"has a header that is not that of an array of numbers or text: {shortened(text, 80)}")
    return (
        _dtype(entries["descr"], bfloat16),
        _shape(entries["shape"]),
        entries["order"] == "True",
        8 + len(length_bytes) + length,
    )


def _dtype(descr: str, bfloat16: bool) -> np.dtype:
    if descr.endswith("O"):
        raise ArchiveError(OBJECTS)
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise ArchiveError(f"has the unknown dtype {descr}") from error
    if bfloat16 and descr in ("|V2", "<V2"):  # big-endian values would be taken for others
        return BFLOAT16
    if dtype.kind not in KINDS or not dtype.itemsize:
        raise ArchiveError(f"has the dtype {descr}, which is neither a number nor text")
    return dtype


def _shape(text: str) -> tuple[int, ...]:
    lengths = [each.strip().removesuffix("L") for each in text.split(",")]
    if lengths[-1] == "":  # "10," is one axis, "" none
        lengths.pop()
    elif len(lengths) == 1:
        raise ArchiveError(f"has a shape that is not a list: ({shortened(text, 60)})")
    if len(lengths) > MOST_AXES or not all(each.isdigit() and len(each) <= 18 for each in lengths):
        raise ArchiveError(f"has a shape that cannot be: ({shortened(text, 60)})")
    return tuple(map(int, lengths))


def below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, under the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
