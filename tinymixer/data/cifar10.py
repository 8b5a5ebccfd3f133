"""CIFAR-10 from any form it is found in: the binary or the Python archive, or the folder either one unpacks to.

The binary layout (https://www.cs.toronto.edu/~kriz/cifar.html): six files of 10,000 records, a record being one byte
of label and 3,072 bytes of pixels, colour by colour (red, green, blue), each 32 x 32 and row by row.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from tinymixer.data.archives import gzip_is_cut_short, read_members, sha256_of
from tinymixer.data.dataset import Dataset
from tinymixer.data.manifest import Archive, Manifest, load_manifest
from tinymixer.data.unpickling import read_python_batch
from tinymixer.errors import DataError

RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS_PER_FILE = 10_000
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
FETCH_AGAIN = "Fetch it again with `tinymixer data fetch cifar10`."
# The official Python batches have 31,035,704 bytes; the whole archives unpack to 184 to 187 million.
LARGEST_MEMBER = 40_000_000
LARGEST_ARCHIVE = 300_000_000

Batch = tuple[np.ndarray, np.ndarray]  # pixels uint8 (N, 3072), labels (N,)


def load_cifar10(path: str | os.PathLike[str]) -> Dataset:
    """CIFAR-10 from a file or folder: 50,000 training and 10,000 test images, uint8 (N, 32, 32, 3).

    path: `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz`, or a folder that is, or contains, `cifar-10-batches-bin`
    or `cifar-10-batches-py`.

    How strict it is. An archive must be one of the two official ones, byte for byte, before anything in it is read: its
    members are then trusted no further than needed. A folder is something the user unpacked or made, and no hash
    is asked of it: files of whole records with labels 0..9 are accepted, fewer than 10,000 records only when no
    file is complete (a small set of one's own, where a mix would be an unpacking broken off). The Python layout
    is read by an unpickler that can run nothing (`unpickling.py`), from the archive and from a folder alike.

    Raises DataError for anything else, naming the file and, for a bad label, the record.
    """
    path = Path(path).expanduser()
    manifest = load_manifest("cifar10")
    if path.is_dir():
        return _assemble(_read_folder(*_find_batches(path, manifest)), str(path), manifest)
    if not path.exists():
        raise DataError(
            f"There is no file or folder {path}; give the CIFAR-10 archive or the folder it was unpacked to, "
            "or fetch it with `tinymixer data fetch cifar10`."
        )
    with _opened(path) as file:
        archive = _official_archive(file, path, manifest)
        return _assemble(_read_archive(file, str(path), archive), str(path), manifest)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file; what the system says about reading it becomes a sentence."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _find_batches(path: Path, manifest: Manifest) -> tuple[Path, str]:
    """The folder with the batches, and its layout: `path` itself or a folder of the official name in it."""
    for archive in sorted(manifest.archives, key=lambda archive: archive.layout != "binary"):
        suffix = ".bin" if archive.layout == "binary" else ""
        for folder in (path, path / archive.folder):
            if any((folder / f"{batch}{suffix}").is_file() for batch in BATCHES):
                return folder, archive.layout
    archives = [archive.file for archive in manifest.archives if (path / archive.file).is_file()]
    hint = f" It holds {archives[0]}: give that file instead." if archives else ""
    raise DataError(
        f"There is no CIFAR-10 in {path}: expected data_batch_1.bin and the others, or a folder "
        f"{' or '.join(sorted(archive.folder for archive in manifest.archives))}.{hint}"
    )


def _read_folder(folder: Path, layout: str) -> Iterator[tuple[str, Batch]]:
    suffix = ".bin" if layout == "binary" else ""
    missing = [batch + suffix for batch in BATCHES if not (folder / f"{batch}{suffix}").is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}: unpack the archive again.")
    for batch in BATCHES:
        file_path = folder / f"{batch}{suffix}"
        with _opened(file_path) as file:
            # One byte more than can be right, so that a huge file is refused without being read.
            content = file.read(LARGEST_MEMBER + 1)
        yield batch, _parse(content, str(file_path), layout)


def _read_archive(file: IO[bytes], name: str, archive: Archive) -> Iterator[tuple[str, Batch]]:
    suffix = ".bin" if archive.layout == "binary" else ""
    wanted = {batch + suffix: batch for batch in BATCHES}
    found = set()
    for member, content in read_members(file, name, wanted, LARGEST_MEMBER, LARGEST_ARCHIVE):
        if member in found:
            raise DataError(f"{name} holds {member} twice, so it is not clear which one to take.")
        found.add(member)
        yield wanted[member], _parse(content, f"{member} in {name}", archive.layout)
    if missing := [member for member in wanted if member not in found]:
        raise DataError(f"{name} lacks {', '.join(missing)}.")


def _parse(content: bytes, name: str, layout: str) -> Batch:
    if len(content) > LARGEST_MEMBER:
        raise DataError(f"{name} is larger than any batch of CIFAR-10 ({RECORD_BYTES * RECORDS_PER_FILE:,} bytes).")
    if layout == "python":
        pixels, labels = read_python_batch(content, name)
        if not 1 <= len(labels) <= RECORDS_PER_FILE:
            raise DataError(f"{name} holds {len(labels):,} images; a batch of CIFAR-10 has {RECORDS_PER_FILE:,}.")
        return pixels, labels
    records, rest = divmod(len(content), RECORD_BYTES)
    if rest or not 1 <= records <= RECORDS_PER_FILE:
        complete = RECORD_BYTES * RECORDS_PER_FILE
        reason = "it was cut short" if len(content) < complete else "it is too large"
        raise DataError(
            f"{name} has {len(content):,} bytes where {complete:,} were expected ({RECORDS_PER_FILE:,} records of "
            f"{RECORD_BYTES:,}): {reason}. Unpack the archive again."
        )
    table = np.frombuffer(content, dtype=np.uint8).reshape(records, RECORD_BYTES)  # (N, 3073)
    outside = np.flatnonzero(table[:, 0] > 9)
    if outside.size:
        first = int(outside[0])
        raise DataError(f"Record {first} of {name} has the label {table[first, 0]}; CIFAR-10's labels are 0 to 9.")
    return table[:, 1:], table[:, 0]


def _assemble(batches: Iterator[tuple[str, Batch]], name: str, manifest: Manifest) -> Dataset:
    """Put each batch in its place as it is read, so that only one file is in memory besides the result."""
    images = np.empty((len(BATCHES) * RECORDS_PER_FILE, 32, 32, 3), dtype=np.uint8)
    labels = np.empty(len(BATCHES) * RECORDS_PER_FILE, dtype=np.int64)
    counts = {}
    for batch, (pixels, batch_labels) in batches:
        start, count = BATCHES.index(batch) * RECORDS_PER_FILE, len(batch_labels)
        images[start : start + count] = pixels.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
        labels[start : start + count] = batch_labels
        counts[batch] = count
    short = [batch for batch, count in counts.items() if count < RECORDS_PER_FILE]
    if 0 < len(short) < len(BATCHES):
        raise DataError(
            f"{short[0]} in {name} has {counts[short[0]]:,} records where the complete files have "
            f"{RECORDS_PER_FILE:,}: it was cut short. Unpack the archive again."
        )
    if short:
        kept = [BATCHES.index(batch) * RECORDS_PER_FILE + np.arange(counts[batch]) for batch in BATCHES]
        train, test = np.concatenate(kept[:-1]), kept[-1]
        parts = images[train], labels[train], images[test], labels[test]
    else:
        end = (len(BATCHES) - 1) * RECORDS_PER_FILE
        parts = images[:end], labels[:end], images[end:], labels[end:]
    train_images, train_labels, test_images, test_labels = parts
    return Dataset(
        name="cifar10",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=list(manifest.class_names),
        mean=np.array(manifest.mean),
        std=np.array(manifest.std),
    )


def _official_archive(file: IO[bytes], path: Path, manifest: Manifest) -> Archive:
    """Which official archive an open file is, its hash compared; the file is left at its beginning."""
    size = os.fstat(file.fileno()).st_size
    by_size = {archive.bytes: archive for archive in manifest.archives}
    if size not in by_size:
        raise DataError(_why_not_official(file, path, size, manifest))
    archive = by_size[size]
    found = sha256_of(file)
    if found != archive.sha256:
        raise DataError(
            f"{path} is damaged or not the official {archive.file}: expected SHA-256 {archive.sha256}, got {found}. "
            f"{FETCH_AGAIN}"
        )
    file.seek(0)
    return archive


def _why_not_official(file: IO[bytes], path: Path, size: int, manifest: Manifest) -> str:
    """A sentence for a file of the wrong size: cut short, too large, another archive, or no archive at all."""
    likely = "python" if "py" in path.name else "binary"
    expected = next(archive for archive in manifest.archives if archive.layout == likely)
    start = file.read(512)
    file.seek(0)
    if not start.startswith(b"\x1f\x8b"):
        guess = " (it looks like a web page)" if start.lstrip()[:1] == b"<" else ""
        return (
            f"{path} is not a .tar.gz archive{guess}: give an official CIFAR-10 archive or its unpacked folder. "
            f"{FETCH_AGAIN}"
        )
    if size < expected.bytes and gzip_is_cut_short(file, LARGEST_ARCHIVE):
        return f"{path} was cut short: it has {size:,} of {expected.bytes:,} bytes. {FETCH_AGAIN}"
    difference = "too large" if size > max(archive.bytes for archive in manifest.archives) else "of another size"
    sizes = " or ".join(f"{archive.bytes:,} ({archive.file})" for archive in manifest.archives)
    return (
        f"{path} is {difference} for an official CIFAR-10 archive: it has {size:,} bytes, expected {sizes}. "
        "If it is a copy of your own that you trust, unpack it and give the folder."
    )
