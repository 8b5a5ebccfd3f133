"""Fetches published weights into the cache, and holds every file to what came the first time."""

import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinymixer.borders import guarded
from tinymixer.data.download import MirrorError, Patience
from tinymixer.data.wanted_file import (
    Notify,
    WantedFile,
    fetch_from,
    locked_folder,
    set_aside_unless_whole,
    sha256_of_file,
)
from tinymixer.errors import DownloadError
from tinymixer.pretrained.catalogue import Entry, path_of, readable_entry, weights_folder
from tinymixer.pretrained.record import Record, read_record, record_path, write_record
from tinymixer.text import shortened

MIRROR_VARIABLE = "TINYMIXER_WEIGHTS_MIRROR"


def fetch_weights(
    name: str,
    cache: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    mirrors: Sequence[str] = (),
    progress: Callable[..., Any] | None = None,
    notify: Notify | None = None,
    patience: Patience | None = None,
) -> Path:
    """Fetch published weights into the cache and return the path of their file; at once when it is there, and right.

    cache      the folder to keep them in (see `tinymixer.data.manifest.cache_folder`); they lie in its folder "weights"
    url        where to get this one file; only this URL is asked
    mirrors    URLs of folders that are tried first and hold the file under the name it has in the cache, such as the
               cache of another machine; after them that of the environment variable TINYMIXER_WEIGHTS_MIRROR
    progress   makes a progress bar; takes `tqdm.tqdm`'s arguments. notify: receives a sentence for each problem
    patience   how long to keep trying a server

    An interrupted download stays as `.part`, and the next fetch resumes it. Where no hash is known the first fetch
    records size and SHA-256; a file that differs from the record is refused ever after.

    Raises CheckpointError for an unknown name and for weights that are refused, DownloadError when no server gives the
    file, the disk is full, or the folder cannot be written.
    """
    entry, folder = readable_entry(name), weights_folder(cache)
    tell = notify if notify is not None else _ignore
    wait = patience if patience is not None else Patience()
    with locked_folder(folder, name, tell, "weights"), guarded(DownloadError, f"{name} could not be kept in {folder}"):
        record = read_record(folder, name)
        wanted = _wanted(entry, record)
        path = path_of(entry, cache)
        if wanted.sha256 is not None:
            if set_aside_unless_whole(folder, wanted, tell):
                return path
        elif path.is_file() and entry.is_plausible(path.stat().st_size):  # the user put it there
            return _recorded(entry, path, path.as_uri(), folder, tell)
        return _fetch_from_any(_urls(entry, url, mirrors), entry, wanted, record, folder, wait, tell, progress)


def _fetch_from_any(
    urls: Sequence[str],
    entry: Entry,
    wanted: WantedFile,
    record: Record | None,
    folder: Path,
    patience: Patience,
    tell: Notify,
    progress: Callable[..., Any] | None,
) -> Path:
    failures = []
    for url in urls:
        try:
            path = fetch_from(url, wanted, folder, patience, tell, progress)
        except MirrorError as error:
            failures.append(f"{url}: {shortened(str(error))}")
            tell(f"{failures[-1]}.")
        else:
            return path if wanted.sha256 is not None else _recorded(entry, path, url, folder, tell)
    held = (
        ""
        if record is None
        else f" It is held to what came from {record.url} on {record.day}: {record.bytes:,} bytes, SHA-256 "
        f"{record.sha256[:12]}.... Where the file was really published anew, delete "
        f"{record_path(folder, entry.name)} and fetch again."
    )
    raise DownloadError(
        f"{entry.name} could not be fetched ({'; '.join(failures)}). Try again later, which goes on from what was "
        f"received; or give another address of the file with `--url URL`; or put it to {folder / entry.file}.{held}"
    )


def _urls(entry: Entry, url: str | None, mirrors: Sequence[str]) -> list[str]:
    if url is not None:
        return [url]
    folders = [*mirrors, *filter(None, [os.environ.get(MIRROR_VARIABLE)])]
    return [*(f"{folder.rstrip('/')}/{entry.file}" for folder in folders), entry.url]


def _wanted(entry: Entry, record: Record | None) -> WantedFile:
    if entry.sha256 is not None:
        return WantedFile(entry.file, "the published file", entry.bytes, entry.sha256)
    if record is not None:
        return WantedFile(entry.file, "the file that was fetched first", record.bytes, record.sha256)
    return WantedFile(entry.file, "the published file", about=entry.about_bytes)


def _recorded(entry: Entry, path: Path, url: str, folder: Path, tell: Notify) -> Path:
    """Record the file that came; every later one is held to it."""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    record = Record(path.stat().st_size, sha256_of_file(path), url, day)
    write_record(folder, entry.name, record)
    tell(f"{entry.name}: {record.bytes:,} bytes, SHA-256 {record.sha256}; later fetches are held to this.")
    return path


def _ignore(_message: str) -> None:
    """The default `notify`: drops the message."""
