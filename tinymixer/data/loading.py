"""Data sets by name: load one, or say what is known of it."""

import os
from pathlib import Path
from typing import Any

from tinymixer.data.cifar10 import load_cifar10
from tinymixer.data.dataset import Dataset
from tinymixer.data.digits import load_digits
from tinymixer.data.manifest import Manifest, cache_folder, datasets_folder, load_manifest
from tinymixer.errors import DataError


def load_dataset(
    name: str, path: str | os.PathLike[str] | None = None, cache: str | os.PathLike[str] | None = None
) -> Dataset:
    """A data set by name, "digits" (bundled) or "cifar10" (fetched before, or at `path`).

    path: a CIFAR-10 archive or folder (see `load_cifar10`).
    cache: where fetched archives are kept (see `cache_folder`).
    Nothing is ever downloaded here: that is `fetch`. Raises DataError when the data is missing, damaged or unknown.
    """
    manifest = load_manifest(name)
    if manifest.bundled is not None:
        if path is not None:
            raise DataError(
                f"The {name} data set comes with tinymixer and takes no path, got {os.fspath(path)}; "
                "leave the path out, or choose cifar10."
            )
        return load_digits()
    if path is None:
        path = cached_archive(manifest, cache)
        if path is None:
            raise DataError(
                f"{manifest.title} is not here yet: fetch it with `tinymixer data fetch {name}`, or give an archive or "
                "folder you have with `--data PATH`."
            )
    return load_cifar10(path)


def cached_archive(manifest: Manifest, cache: str | os.PathLike[str] | None = None) -> Path | None:
    """The fetched archive of a data set, or None."""
    folder = cache_folder(cache)
    return next((folder / archive.file for archive in manifest.archives if (folder / archive.file).is_file()), None)


def dataset_info(name: str, cache: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """What is known of a data set, as plain values that JSON can hold: the manifest, and what of it is on this machine.

    `available` says whether it can be loaded now and `path` where from (None when it must be fetched first); `partial`
    names the broken-off downloads that wait to be resumed, with the bytes they have. Raises DataError for an unknown
    name.
    """
    manifest = load_manifest(name)
    folder = cache_folder(cache)
    if manifest.bundled is not None:
        path: Path | None = datasets_folder() / manifest.bundled.file
    else:
        path = cached_archive(manifest, cache)
    partial = {}
    for archive in manifest.archives:
        part = folder / f"{archive.file}.part"
        if part.is_file():
            partial[archive.file] = part.stat().st_size
    return {
        "name": manifest.name,
        "title": manifest.title,
        "train_images": manifest.train_images,
        "test_images": manifest.test_images,
        "image_size": manifest.image_size,
        "channels": manifest.channels,
        "classes": list(manifest.class_names),
        "mean": list(manifest.mean),
        "std": list(manifest.std),
        "homepage": manifest.homepage,
        "license": manifest.license,
        "citation": manifest.citation,
        "card": str(datasets_folder() / f"{manifest.name}.md"),
        "bundled": manifest.bundled is not None,
        "available": path is not None and path.is_file(),
        "path": None if path is None else str(path),
        "bytes": path.stat().st_size if path is not None and path.is_file() else None,
        "partial": partial,
        "cache": str(folder),
        "archives": [
            {"file": archive.file, "bytes": archive.bytes, "sha256": archive.sha256, "urls": list(archive.urls)}
            for archive in manifest.archives
        ],
    }
