"""Fetches one file from one URL into a folder: resumed where it stopped, and kept only if it is the right one.

Data sets (`fetching.py`) and published weights (`tinymixer.pretrained.fetching`) are fetched with this.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinymixer.data.archives import sha256_of
from tinymixer.data.download import MirrorError, PartFile, Patience, download
from tinymixer.errors import DownloadError, install_line

Notify = Callable[[str], object]


@dataclass(frozen=True)
class WantedFile:
    """A file to fetch.

    file     its name in the folder
    noun     what messages call it, such as "the official archive"
    bytes    its size; None where it is not known
    sha256   None where it is not known: then any file of that size, or about that size, is taken
    about    its size, roughly, where `bytes` is None
    """

    file: str
    noun: str
    bytes: int | None = None
    sha256: str | None = None
    about: int | None = None


@contextmanager
def locked_folder(folder: Path, name: str, notify: Notify, what: str) -> Iterator[None]:
    """Create the folder and hold the lock of that name in it. If the process dies, the system releases the lock.

    what: what is fetched, for messages: "a data set". Raises DownloadError when the folder cannot be used.
    """
    try:
        import filelock
    except ImportError as error:
        raise DownloadError(f"Fetching {what} needs filelock: {install_line('cli')}.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            notify(f"Another process is fetching {name} into {folder}; waiting for it.")
            lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"The cache folder {folder} cannot be used: {error.strerror or error}. "
            "Set TINYMIXER_CACHE to a folder you can write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def set_aside_unless_whole(folder: Path, wanted: WantedFile, notify: Notify) -> bool:
    """Whether the file is in the folder, and the right one.

    A wrong file is renamed, not deleted: the user may have put it there.
    """
    path = folder / wanted.file
    if not path.is_file():
        return False
    if path.stat().st_size == wanted.bytes and sha256_of_file(path) == wanted.sha256:
        return True
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    notify(f"{path} is not {wanted.noun}; it was moved to {aside} and is fetched again.")
    return False


def fetch_from(
    url: str,
    wanted: WantedFile,
    folder: Path,
    patience: Patience,
    notify: Notify,
    progress: Callable[..., Any] | None,
) -> Path:
    """Download the file from one URL and return its path.

    progress: makes a progress bar, with tqdm's arguments; None for none.
    Raises MirrorError when the URL does not give the file, DownloadError when it cannot be written.
    """
    path, part_path = folder / wanted.file, folder / f"{wanted.file}.part"
    with PartFile(part_path, wanted.bytes, wanted.about) as part:
        if wanted.bytes is not None and part.size > wanted.bytes:
            part.truncate(0)
        while True:
            resumed = part.size > 0
            _require_disk_space(folder, (part.complete_size or wanted.about or 0) - part.size)
            with _progress_bar(progress, wanted, part) as advance:
                download(url, part, patience, notify, advance)
            if wanted.sha256 is None or sha256_of_file(part_path) == wanted.sha256:
                part.sync()
                break
            part.truncate(0)
            if not resumed:
                raise MirrorError(f"what it sent is not {wanted.noun} (wrong SHA-256), so it was deleted")
            # The bytes of the earlier download may be the wrong ones: drop them and ask this mirror once more.
            notify(f"{url}: the resumed download has the wrong SHA-256, so it was deleted and begins again.")
    part_path.replace(path)
    part.remove_origin()
    return path


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of(file)


@contextmanager
def _progress_bar(
    progress: Callable[..., Any] | None, wanted: WantedFile, part: PartFile
) -> Iterator[Callable[[int], object]]:
    if progress is None:
        yield lambda count: None
        return
    total = part.complete_size or wanted.about
    bar = progress(total=total, initial=part.size, desc=wanted.file, unit="B", unit_scale=True, unit_divisor=1000)
    try:
        yield bar.update
    finally:
        bar.close()


def _require_disk_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"The disk of {folder} has {free:,} bytes free, and {needed:,} more are needed. Free some space, or set "
            "TINYMIXER_CACHE to a folder with more room. What was received so far is kept."
        )
