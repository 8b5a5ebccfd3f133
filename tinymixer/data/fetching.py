"""Fetches a data set: tries the mirrors of its archives in order, and keeps a file only if its SHA-256 is right."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinymixer.borders import guarded
from tinymixer.data.archives import sha256_of
from tinymixer.data.download import MirrorError, PartFile, Patience, download
from tinymixer.data.manifest import Archive, Manifest, cache_folder, datasets_folder, load_manifest
from tinymixer.errors import DownloadError, install_line
from tinymixer.text import shortened


def fetch(
    name: str,
    cache: str | os.PathLike[str] | None = None,
    *,
    mirrors: Sequence[str] = (),
    progress: Callable[..., Any] | None = None,
    notify: Callable[[str], object] | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    backoff: float = 1.0,
    slowest: float = 1000.0,
    total: float = 12 * 3600.0,
) -> Path:
    """Fetch a data set into the cache and return the path of its archive, or of the folder that holds its files.

    Returns at once when the files are already there.

    cache: the folder to keep them in (see `cache_folder`).
    mirrors: URLs that are tried first, such as a server in the classroom: folders that hold the archives under their
        usual names.
    progress: makes a progress bar; takes the arguments total, initial, desc, unit, unit_scale and unit_divisor, as
        `tqdm.tqdm` does. notify: receives a sentence for each problem on the way.
    timeout, attempts, backoff, slowest, total: how long to keep trying a server (see `Patience`).

    An interrupted download stays as `.part`, and the next fetch resumes it. A second process that fetches at the same
    time waits for the first. A file gets its final name only when it is complete and its SHA-256 is right.
    Raises DownloadError when no mirror gives the file, the disk is full or the folder cannot be written.
    """
    manifest = load_manifest(name)
    if manifest.bundled is not None:
        return datasets_folder() / manifest.bundled.file
    folder = cache_folder(cache) / manifest.parts_folder
    tell = notify if notify is not None else _ignore
    patience = Patience(timeout, attempts, backoff, slowest, total)
    with _locked_folder(folder, name, tell), guarded(DownloadError, f"{manifest.title} could not be kept in {folder}"):
        if not manifest.parts_folder:
            return _fetch_one_of(manifest.archives, manifest, folder, mirrors, patience, tell, progress)
        for archive in manifest.archives:
            _fetch_one_of((archive,), manifest, folder, mirrors, patience, tell, progress)
    return folder


def _fetch_one_of(
    archives: Sequence[Archive],
    manifest: Manifest,
    folder: Path,
    mirrors: Sequence[str],
    patience: Patience,
    tell: Callable[[str], object],
    progress: Callable[..., Any] | None,
) -> Path:
    """Return the first of these archives that is in the folder, or download one of them."""
    for archive in archives:
        if _is_whole(folder / archive.file, archive, tell):
            return folder / archive.file
    wishes = [(archive, f"{mirror.rstrip('/')}/{archive.file}") for mirror in mirrors for archive in archives]
    wishes += [(archive, url) for archive in archives for url in archive.urls]
    failures = []
    for archive, url in wishes:
        try:
            return _fetch_from(url, archive, folder, patience, tell, progress)
        except MirrorError as error:
            failures.append(f"{url}: {shortened(str(error))}")
            tell(f"{failures[-1]}.")
    by_hand = "the files" if manifest.parts_folder else "an archive"
    raise DownloadError(
        f"{manifest.title} could not be fetched from any of its mirrors ({'; '.join(failures)}). Try again later, "
        f"which goes on from what was received, or download {by_hand} by hand from {manifest.homepage} and give "
        "the path with `--data PATH`."
    )


def _ignore(_message: str) -> None:
    """The default `notify`: drops the message."""


@contextmanager
def _locked_folder(folder: Path, name: str, notify: Callable[[str], object]) -> Iterator[None]:
    """Create the folder and hold the data set's lock in it. If the process dies, the system releases the lock."""
    try:
        import filelock
    except ImportError as error:
        raise DownloadError(f"Fetching a data set needs filelock: {install_line('cli')}.") from error
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


def _is_whole(path: Path, archive: Archive, notify: Callable[[str], object]) -> bool:
    """Whether the archive is complete. A wrong file is renamed, not deleted: the user may have put it there."""
    if not path.is_file():
        return False
    if path.stat().st_size == archive.bytes and _sha256(path) == archive.sha256:
        return True
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    notify(f"{path} is not the official archive; it was moved to {aside} and is fetched again.")
    return False


def _fetch_from(
    url: str,
    archive: Archive,
    folder: Path,
    patience: Patience,
    notify: Callable[[str], object],
    progress: Callable[..., Any] | None,
) -> Path:
    """Download the archive from one URL and return its path. Raises MirrorError when the URL does not give it."""
    path, part_path = folder / archive.file, folder / f"{archive.file}.part"
    with PartFile(part_path, archive.bytes) as part:
        if part.size > archive.bytes:
            part.truncate(0)
        while True:
            resumed = part.size > 0
            _require_disk_space(folder, archive.bytes - part.size)
            with _progress_bar(progress, archive, part.size) as advance:
                download(url, part, patience, notify, advance)
            if _sha256(part_path) == archive.sha256:
                part.sync()
                break
            part.truncate(0)
            if not resumed:
                raise MirrorError("what it sent is not the official archive (wrong SHA-256), so it was deleted")
            # The bytes of the earlier download may be the wrong ones: drop them and ask this mirror once more.
            notify(f"{url}: the resumed download has the wrong SHA-256, so it was deleted and begins again.")
    part_path.replace(path)
    return path


@contextmanager
def _progress_bar(
    progress: Callable[..., Any] | None, archive: Archive, initial: int
) -> Iterator[Callable[[int], object]]:
    if progress is None:
        yield lambda count: None
        return
    bar = progress(
        total=archive.bytes, initial=initial, desc=archive.file, unit="B", unit_scale=True, unit_divisor=1000
    )
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return sha256_of(file)
