"""A file of named arrays, .npz or .safetensors: what is in it, and its values one array at a time."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from tinymixer.borders import opened, shown_path
from tinymixer.errors import CheckpointError
from tinymixer.npz import BFLOAT16, NpzFile, npz_file
from tinymixer.pretrained.safetensors_file import SafetensorsFile, safetensors_file

# Trained weights deflate to nine tenths of their size. An archive that is not compressed may have any size.
SMALL, MOST_SQUEEZED = 1 << 25, 20
DAMAGED = ". It is damaged or another file: fetch it again"


class ArrayFile(Protocol):
    """An open file of arrays.

    kind    "npz" or "safetensors"
    texts   what the file says about itself, by name
    """

    kind: str
    path: Path

    @property
    def texts(self) -> Mapping[str, str]: ...

    @property
    def names(self) -> list[str]: ...

    def header(self, name: str) -> tuple[str, tuple[int, ...]]:
        """The dtype's name ("float32", "bfloat16", "int64") and the shape."""
        ...

    def array(self, name: str) -> np.ndarray:
        """The values; bfloat16 as float32, which holds the same numbers."""
        ...


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """Open a file of arrays; nothing is unpickled, and no header is believed.

    Raises CheckpointError, in a sentence, for a file that is missing, damaged or none of arrays.
    """
    shown = shown_path(path)
    with opened(path, CheckpointError, shown) as file:
        start = file.read(64)
    what = f"{shown} cannot be read"
    if start[:2] == b"PK":
        with npz_file(path, CheckpointError, what, DAMAGED) as archive:
            _refuse_pytorch(archive.names, shown)
            yield _Npz(path, archive)
    elif start[8:9] == b"{":
        with safetensors_file(path, what) as found:
            yield _Safetensors(path, found)
    else:
        raise CheckpointError(f"{shown} {_what_it_is(start)}")


class _Npz:
    kind = "npz"

    def __init__(self, path: Path, archive: NpzFile) -> None:
        self.path, self._archive = path, archive
        archive.require_bounded(archive.names, compressed=True, small=SMALL, squeezed=MOST_SQUEEZED)
        texts = [name for name in archive.names if _is_text(archive, name)]
        self.texts: dict[str, str] = {name: str(archive.array(name)) for name in texts}

    @property
    def names(self) -> list[str]:
        return [name for name in self._archive.names if name not in self.texts]

    def header(self, name: str) -> tuple[str, tuple[int, ...]]:
        dtype, shape = self._archive.header(name, bfloat16=True)
        return _dtype_name(dtype), shape

    def array(self, name: str) -> np.ndarray:
        return _numbers(self._archive.array(name, bfloat16=True))


class _Safetensors:
    kind = "safetensors"

    def __init__(self, path: Path, found: SafetensorsFile) -> None:
        self.path, self._file, self.texts = path, found, found.metadata

    @property
    def names(self) -> list[str]:
        return self._file.names

    def header(self, name: str) -> tuple[str, tuple[int, ...]]:
        dtype, shape = self._file.header(name)
        return _dtype_name(dtype), shape

    def array(self, name: str) -> np.ndarray:
        return _numbers(self._file.array(name))


def _is_text(archive: NpzFile, name: str) -> bool:
    dtype, shape = archive.header(name, bfloat16=True)
    return dtype.kind == "U" and math.prod(shape) == 1


def _dtype_name(dtype: np.dtype) -> str:
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


def _numbers(array: np.ndarray) -> np.ndarray:
    """bfloat16 is the upper half of float32: put zeros below it."""
    if array.dtype != BFLOAT16:
        return array
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _refuse_pytorch(names: list[str], shown: str) -> None:
    if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names):
        raise CheckpointError(
            f"{shown} is a pickle of PyTorch's, and a pickle can run any program, so it is never opened: take the "
            "model.safetensors that lies beside it"
        )


def _what_it_is(start: bytes) -> str:
    """What a file is that holds no arrays, from its first bytes."""
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself: run 'git lfs pull' where it came from"
    if start.startswith(b"\x80"):
        return "is a pickle, and a pickle can run any program, so it is never opened: take a .safetensors or .npz file"
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 file: weights are read from .npz (the authors') and .safetensors (timm's)"
    if not start:
        return "is empty"
    return (
        "is no file of weights: by its content it is neither an .npz (the authors') nor a .safetensors file (timm's), "
        "so it is damaged or something else. Fetch it again, or give another"
    )
