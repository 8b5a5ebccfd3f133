"""Writing files so that a crash at any moment leaves the old one or the new one, never half of one."""

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tinymixer.errors import CheckpointError

SUFFIX = ".tinymixer-part"
PATIENCE = 2.0  # seconds in which a refused renaming is tried again: virus scanners and indexers hold files that long
REFUSED_FOR_A_MOMENT = {errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY}
NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # by a network or shared folder

Say = Callable[[str], None]  # receives a sentence about something that is no reason to stop


def say_nothing(sentence: str) -> None:
    """The `say` that drops its sentence."""


@contextlib.contextmanager
def replacing(path: Path, say: Say = say_nothing) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing; at the end of the block it is on the disk and takes the name `path`.

    say   receives a sentence where the file system cannot promise that the file survives a power cut

    Raises CheckpointError when it cannot be written (disk full, no permission). Then, as after any other exception in
    the block, `path` is as it was and the new file is gone.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}{SUFFIX}")
    try:
        try:
            with beside.open("xb") as file:
                yield file
                file.flush()
                sync_file(file.fileno(), path.parent, say)
            rename(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except OSError as error:
        kept = "the previous one is untouched" if path.exists() else "nothing was written"
        raise CheckpointError(f"{path} could not be saved ({error.strerror or error}): {kept}") from error
    sync_folder(path.parent, say)


def rename(path: Path, to: Path) -> None:
    """Rename a file to `to`, replacing any file of that name. Retries for PATIENCE seconds if the system refuses."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            path.replace(to)
            return
        except OSError as error:
            if error.errno not in REFUSED_FOR_A_MOMENT or time.monotonic() > until:
                raise
        time.sleep(0.05)


def keep_under(path: Path, name: Path) -> None:
    """Give the file at `path` a second name, replacing any file of that name, so that a new file can take the first.

    Raises OSError where not even a copy can be made; the file at `path` stays whatever happens.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}{SUFFIX}")
    try:
        try:
            os.link(path, beside)
        except (OSError, NotImplementedError, AttributeError):  # FAT, some network folders
            shutil.copyfile(path, beside)
        rename(beside, name)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def sync_file(descriptor: int, folder: Path, say: Say = say_nothing) -> None:
    """Wait until a file is on the disk. Raises OSError where that fails; where the system cannot do it, tells `say`."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        say(_lasting(folder, error))


def sync_folder(folder: Path, say: Say = say_nothing) -> None:
    """Make a renaming survive a power cut, on systems that can; on others, tells `say`."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        say(_lasting(folder, error))


def remove_leftovers(folder: Path) -> None:
    """Delete the half-written files of a run that was killed while saving, as far as that can be done."""
    for path in folder.glob(f".*{SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _lasting(folder: Path, error: OSError) -> str:
    return (
        f"the file system of {folder} cannot be told to write to the disk at once ({error.strerror or error}): what is "
        "saved is complete, but a power cut may lose the newest file"
    )
