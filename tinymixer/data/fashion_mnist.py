"""Fashion-MNIST from its four compressed files in IDX format.

An IDX file (MNIST uses the same format) holds two zero bytes, the type of the numbers (8: uint8), the number of axes,
the length of each axis as a big-endian 32-bit number, then the numbers in C order.
"""

import gzip
import os
from pathlib import Path

import numpy as np

from tinymixer.borders import guarded, opened
from tinymixer.data.archives import sha256_of
from tinymixer.data.dataset import Dataset
from tinymixer.data.manifest import Archive, load_manifest
from tinymixer.data.paths import expanded
from tinymixer.errors import DataError

FETCH_AGAIN = "Fetch it again with `tinymixer data fetch fashion_mnist`."
PLACES = (".", "raw", "FashionMNIST/raw", "fashion_mnist")  # where torchvision and others put them in a folder
LARGEST_FILE = 60_000_000  # unpacked; the training images have 47,040,016 bytes


def load_fashion_mnist(path: str | os.PathLike[str]) -> Dataset:
    """Fashion-MNIST from a folder with its four files: 60,000 training and 10,000 test images, uint8 (N, 28, 28, 1).

    MNIST's files have the same names and format, and only the hashes tell them apart. So each file must be the official
    one, byte for byte; unpacked files are refused. Raises DataError, with the file's name, for anything else.
    """
    folder, manifest = expanded(path), load_manifest("fashion_mnist")
    place = find_fashion_mnist(folder)
    if place is None:
        raise DataError(
            f"There is no Fashion-MNIST in {folder}: expected a folder with {manifest.archives[0].file} and the three "
            "other .gz files, or fetch it with `tinymixer data fetch fashion_mnist`."
        )
    missing = [archive.file for archive in manifest.archives if not (place / archive.file).is_file()]
    if missing:
        raise DataError(f"{place} lacks {', '.join(missing)}. {FETCH_AGAIN}")
    images, labels, test_images, test_labels = (_read(place / archive.file, archive) for archive in manifest.archives)
    return Dataset(
        manifest.name,
        images[..., None],
        labels,
        test_images[..., None],
        test_labels,
        list(manifest.class_names),
        np.array(manifest.mean),
        np.array(manifest.std),
    )


def find_fashion_mnist(folder: Path) -> Path | None:
    """The place in `folder` that holds the four files; None when there is none."""
    first = load_manifest("fashion_mnist").archives[0].file
    return next((folder / place for place in PLACES if (folder / place / first).is_file()), None)


def _read(path: Path, archive: Archive) -> np.ndarray:
    """Read the array in one file; nothing is unpacked before the file's hash is compared."""
    damaged = f"{path} is damaged: it cannot be unpacked to its end"
    with opened(path, DataError) as file:
        size = os.fstat(file.fileno()).st_size
        found = sha256_of(file) if size == archive.bytes else None
        if found != archive.sha256:
            reason = f"it has {size:,} bytes, expected {archive.bytes:,}" if found is None else "its SHA-256 differs"
            raise DataError(
                f"{path} is not the official file of Fashion-MNIST ({reason}): it is damaged, or MNIST's, which "
                f"has the same name. {FETCH_AGAIN}"
            )
        file.seek(0)
        with guarded(DataError, damaged), gzip.GzipFile(fileobj=file) as unpacked:
            content = unpacked.read(LARGEST_FILE)
    return read_idx(content, str(path))


def read_idx(content: bytes, name: str) -> np.ndarray:
    """Read a uint8 array from the bytes of an IDX file. Raises DataError, with the file's name, for anything else."""
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{name} is not an IDX file of bytes.")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist()) if len(content) >= start else ()
    count = 1
    for length in shape:
        count *= length
    if not shape or len(content) - start != count:
        raise DataError(
            f"{name} is damaged: its header says {' x '.join(map(str, shape)) or 'nothing'}, and {len(content):,} "
            "bytes are there."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
