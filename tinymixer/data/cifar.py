"""CIFAR-10 and CIFAR-100 from the binary or the Python archive, or from the folder that either unpacks to.

The binary layout (https://www.cs.toronto.edu/~kriz/cifar.html): a file is a sequence of records. A record is one byte
of label (CIFAR-100: two, the coarse and the fine label) and 3,072 bytes of pixels: the red channel, then green, then
blue, each 32 x 32 and row by row.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tinymixer.borders import opened
from tinymixer.data.archives import gzip_is_cut_short, read_members, sha256_of
from tinymixer.data.dataset import Dataset
from tinymixer.data.manifest import Archive, Manifest, load_manifest
from tinymixer.data.paths import expanded
from tinymixer.data.unpickling import read_python_batch
from tinymixer.errors import DataError

PIXELS = 3 * 32 * 32
# All four archives unpack to less than 190 million bytes.
LARGEST_ARCHIVE = 300_000_000

Batch = tuple[np.ndarray, np.ndarray]  # pixels uint8 (N, 3072), labels (N,)


@dataclass(frozen=True)
class Layout:
    """The ways in which CIFAR-10 and CIFAR-100 differ.

    batches          file name -> number of images in the complete file; the last file holds the test images
    label_bytes      bytes before a record's pixels; the last of them is the label
    label_entry      the key of the labels in the Python layout
    largest_member   upper limit in bytes for a file of either layout
    """

    name: str
    batches: dict[str, int]
    label_bytes: int
    label_entry: str
    largest_member: int

    @property
    def manifest(self) -> Manifest:
        return load_manifest(self.name)

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + PIXELS

    @property
    def fetch_again(self) -> str:
        return f"Fetch it again with `tinymixer data fetch {self.name}`."


CIFAR10 = Layout(
    "cifar10",
    {**{f"data_batch_{number}": 10_000 for number in range(1, 6)}, "test_batch": 10_000},
    label_bytes=1,
    label_entry="labels",
    largest_member=40_000_000,  # a Python batch has 31,035,704
)
CIFAR100 = Layout(
    "cifar100",
    {"train": 50_000, "test": 10_000},
    label_bytes=2,
    label_entry="fine_labels",
    largest_member=200_000_000,  # the Python file `train` has 155,249,918
)
LAYOUTS = {layout.name: layout for layout in (CIFAR10, CIFAR100)}


def load_cifar(name: str, path: str | os.PathLike[str]) -> Dataset:
    """Load "cifar10" or "cifar100": 50,000 training and 10,000 test images, uint8 (N, 32, 32, 3).

    path: one of the two official archives, or a folder that is, or contains, what one of them unpacks to.

    An archive must be an official one, byte for byte; its hash is compared before anything in it is unpacked. A folder
    may hold files that the user made, so no hash is compared: files of whole records with labels in range are accepted.
    They may hold fewer images than the official files only if all of them do (a small set of the user's own); if just
    some do, the unpacking was probably interrupted, and that is an error. The Python layout is always read by an
    unpickler that runs no code (`unpickling.py`).

    Raises DataError for anything else, with the file's name and, for a bad label, the record's number.
    """
    layout, path = LAYOUTS[name], expanded(path)
    if path.is_dir():
        return _assemble(_read_folder(*_find_batches(path, layout), layout), str(path), layout)
    if not path.exists():
        raise DataError(
            f"There is no file or folder {path}; give the {layout.manifest.title} archive or the folder it was "
            f"unpacked to, or fetch it with `tinymixer data fetch {name}`."
        )
    with opened(path, DataError) as file:
        archive = _official_archive(file, path, layout)
        return _assemble(_read_archive(file, str(path), archive, layout), str(path), layout)


def is_cifar(name: str, folder: Path) -> bool:
    """Whether a folder is, or contains, unpacked files of this data set."""
    layout = LAYOUTS[name]
    return any(
        (place / f"{batch}{suffix}").is_file()
        for place in (folder, *(folder / archive.folder for archive in layout.manifest.archives))
        for batch in layout.batches
        for suffix in ("", ".bin")
    )


def _find_batches(path: Path, layout: Layout) -> tuple[Path, str]:
    """Find the folder with the batches, `path` or its subfolder of the official name, and "binary" or "python"."""
    manifest = layout.manifest
    for archive in sorted(manifest.archives, key=lambda archive: archive.layout != "binary"):
        suffix = ".bin" if archive.layout == "binary" else ""
        for folder in (path, path / archive.folder):
            if any((folder / f"{batch}{suffix}").is_file() for batch in layout.batches):
                return folder, archive.layout
    archives = [archive.file for archive in manifest.archives if (path / archive.file).is_file()]
    hint = f" It holds {archives[0]}: give that file instead." if archives else ""
    raise DataError(
        f"There is no {manifest.title} in {path}: expected {next(iter(layout.batches))}.bin and the others, or a "
        f"folder {' or '.join(sorted(archive.folder for archive in manifest.archives))}.{hint}"
    )


def _read_folder(folder: Path, form: str, layout: Layout) -> Iterator[tuple[str, Batch]]:
    suffix = ".bin" if form == "binary" else ""
    missing = [batch + suffix for batch in layout.batches if not (folder / f"{batch}{suffix}").is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}: unpack the archive again.")
    for batch in layout.batches:
        file_path = folder / f"{batch}{suffix}"
        with opened(file_path, DataError) as file:
            # Read one byte more than a right file can have: enough to refuse a huge file without reading it all.
            content = file.read(layout.largest_member + 1)
        yield batch, _parse(content, str(file_path), form, batch, layout)


def _read_archive(file: IO[bytes], name: str, archive: Archive, layout: Layout) -> Iterator[tuple[str, Batch]]:
    suffix = ".bin" if archive.layout == "binary" else ""
    wanted = {batch + suffix: batch for batch in layout.batches}
    found = set()
    for member, content in read_members(file, name, wanted, layout.largest_member, LARGEST_ARCHIVE):
        if member in found:
            raise DataError(f"{name} holds {member} twice, so it is not clear which one to take.")
        found.add(member)
        yield wanted[member], _parse(content, f"{member} in {name}", archive.layout, wanted[member], layout)
    if missing := [member for member in wanted if member not in found]:
        raise DataError(f"{name} lacks {', '.join(missing)}.")


def _parse(content: bytes, name: str, form: str, batch: str, layout: Layout) -> Batch:
    title, classes = layout.manifest.title, len(layout.manifest.class_names)
    complete, record_bytes = layout.batches[batch], layout.record_bytes
    if len(content) > layout.largest_member:
        raise DataError(f"{name} is larger than any batch of {title} ({record_bytes * complete:,} bytes).")
    if form == "python":
        pixels, labels = read_python_batch(content, name, title, layout.label_entry, classes, layout.fetch_again)
        if not 1 <= len(labels) <= complete:
            raise DataError(f"{name} holds {len(labels):,} images; a complete one of {title} has {complete:,}.")
        return pixels, labels
    records, rest = divmod(len(content), record_bytes)
    if rest or not 1 <= records <= complete:
        reason = "it was cut short" if len(content) < record_bytes * complete else "it is too large"
        raise DataError(
            f"{name} has {len(content):,} bytes where {record_bytes * complete:,} were expected ({complete:,} records "
            f"of {record_bytes:,}): {reason}. Unpack the archive again."
        )
    table = np.frombuffer(content, dtype=np.uint8).reshape(records, record_bytes)  # (N, 3073 or 3074)
    labels = table[:, layout.label_bytes - 1]  # (N,)
    outside = np.flatnonzero(labels >= classes)
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"Record {first} of {name} has the label {labels[first]}; {title}'s labels are 0 to {classes - 1}."
        )
    return table[:, layout.label_bytes :], labels


def _assemble(batches: Iterator[tuple[str, Batch]], name: str, layout: Layout) -> Dataset:
    """Copy each batch into the result as soon as it is read, so that memory holds only one file besides the result."""
    manifest, complete = layout.manifest, layout.batches
    ends = dict(zip(complete, np.cumsum([*complete.values()]).tolist(), strict=True))
    starts = {batch: ends[batch] - count for batch, count in complete.items()}
    total = sum(complete.values())
    images = np.empty((total, 32, 32, 3), dtype=np.uint8)
    labels = np.empty(total, dtype=np.int64)
    counts = {}
    for batch, (pixels, batch_labels) in batches:
        start, count = starts[batch], len(batch_labels)
        images[start : start + count] = pixels.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
        labels[start : start + count] = batch_labels
        counts[batch] = count
    short = [batch for batch, count in counts.items() if count < complete[batch]]
    if 0 < len(short) < len(complete):
        raise DataError(
            f"{short[0]} in {name} has {counts[short[0]]:,} records where the complete files have "
            f"{complete[short[0]]:,}: it was cut short. Unpack the archive again."
        )
    if short:
        kept = [starts[batch] + np.arange(counts[batch]) for batch in complete]
        train, test = np.concatenate(kept[:-1]), kept[-1]
        parts = images[train], labels[train], images[test], labels[test]
    else:
        end = [*starts.values()][-1]
        parts = images[:end], labels[:end], images[end:], labels[end:]
    return Dataset(manifest.name, *parts, list(manifest.class_names), np.array(manifest.mean), np.array(manifest.std))


def _official_archive(file: IO[bytes], path: Path, layout: Layout) -> Archive:
    """Find the official archive with the size and SHA-256 of an open file, and rewind the file.

    Raises DataError when it is not one.
    """
    size = os.fstat(file.fileno()).st_size
    by_size = {archive.bytes: archive for archive in layout.manifest.archives}
    if size not in by_size:
        raise DataError(_why_not_official(file, path, size, layout))
    archive = by_size[size]
    found = sha256_of(file)
    if found != archive.sha256:
        raise DataError(
            f"{path} is damaged or not the official {archive.file}: expected SHA-256 {archive.sha256}, got {found}. "
            f"{layout.fetch_again}"
        )
    file.seek(0)
    return archive


def _why_not_official(file: IO[bytes], path: Path, size: int, layout: Layout) -> str:
    """A sentence that says why a file of the wrong size is refused: cut short, too large, or no such archive."""
    manifest = layout.manifest
    likely = "python" if "py" in path.name else "binary"
    expected = next(archive for archive in manifest.archives if archive.layout == likely)
    start = file.read(512)
    file.seek(0)
    if not start.startswith(b"\x1f\x8b"):
        guess = " (it looks like a web page)" if start.lstrip()[:1] == b"<" else ""
        return (
            f"{path} is not a .tar.gz archive{guess}: give an official {manifest.title} archive or its unpacked "
            f"folder. {layout.fetch_again}"
        )
    if size < expected.bytes and gzip_is_cut_short(file, LARGEST_ARCHIVE):
        return f"{path} was cut short: it has {size:,} of {expected.bytes:,} bytes. {layout.fetch_again}"
    difference = "too large" if size > max(archive.bytes for archive in manifest.archives) else "of another size"
    sizes = " or ".join(f"{archive.bytes:,} ({archive.file})" for archive in manifest.archives)
    return (
        f"{path} is {difference} for an official {manifest.title} archive: it has {size:,} bytes, expected {sizes}. "
        "If it is a copy of your own that you trust, unpack it and give the folder."
    )
