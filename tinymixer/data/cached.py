"""What fetching has left in the cache."""

import os
from pathlib import Path

from tinymixer.data.manifest import DATASETS, cache_folder, load_manifest


def fetched_files(name: str | None = None, cache: str | os.PathLike[str] | None = None) -> list[Path]:
    """The files in the cache that fetching a data set (or any) has made: archives, whole or in part, and locks.

    Raises DataError for a name that is not in DATASETS.
    """
    files = []
    for each in [name] if name is not None else DATASETS:
        manifest = load_manifest(each)
        if manifest.bundled is None:
            folder = cache_folder(cache) / manifest.parts_folder
            names = [f"{archive.file}{end}" for archive in manifest.archives for end in ("", ".part", ".damaged")]
            files += [folder / file for file in (*names, f"{each}.lock") if (folder / file).is_file()]
    return files
