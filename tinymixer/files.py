"""Writing files so that a crash at any moment leaves the old one or the new one, never half of one."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tinymixer.errors import CheckpointError

SUFFIX = ".tinymixer-part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing; at the end of the block it is on the disk and takes the name `path`.

    Raises CheckpointError when it cannot be written (disk full, no permission). Then, as after any other exception in
    the block, `path` is as it was and the new file is gone.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{SUFFIX}")
    try:
        try:
            with beside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        kept = "the previous one is untouched" if path.exists() else "nothing was written"
        raise CheckpointError(f"{path} could not be saved ({error.strerror or error}): {kept}") from error


def sync_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, on systems that can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete the half-written files of a run that was killed while saving."""
    for path in folder.glob(f".*{SUFFIX}"):
        path.unlink(missing_ok=True)
