"""Lists the files that fetching has put into the cache."""

import os
from pathlib import Path

from tinymixer.data.manifest import DATASETS, cache_folder, load_manifest


def fetched_files(name: str | None = None, cache: str | os.PathLike[str] | None = None) -> list[Path]:
    """The files that fetching has put into the cache: complete and partial archives, and locks.

    name: the data set; None for all of them.

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
