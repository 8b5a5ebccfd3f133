"""Fetches a data set: tries the mirrors of its archives in order, and keeps a file only if its SHA-256 is right."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinymixer.borders import guarded
from tinymixer.data.download import MirrorError, Patience
from tinymixer.data.manifest import Archive, Manifest, cache_folder, datasets_folder, load_manifest
from tinymixer.data.wanted_file import WantedFile, fetch_from, locked_folder, set_aside_unless_whole
from tinymixer.errors import DownloadError
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
    not_kept = f"{manifest.title} could not be kept in {folder}"
    with locked_folder(folder, name, tell, "a data set"), guarded(DownloadError, not_kept):
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
        if set_aside_unless_whole(folder, _wanted(archive), tell):
            return folder / archive.file
    wishes = [(archive, f"{mirror.rstrip('/')}/{archive.file}") for mirror in mirrors for archive in archives]
    wishes += [(archive, url) for archive in archives for url in archive.urls]
    failures = []
    for archive, url in wishes:
        try:
            return fetch_from(url, _wanted(archive), folder, patience, tell, progress)
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


def _wanted(archive: Archive) -> WantedFile:
    return WantedFile(archive.file, "the official archive", archive.bytes, archive.sha256)
