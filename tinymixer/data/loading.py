"""Loads a data set by name or by path, and lists the known facts about one."""

import os
from pathlib import Path
from typing import Any

from tinymixer.data.cifar import LAYOUTS, is_cifar, load_cifar
from tinymixer.data.dataset import Dataset
from tinymixer.data.digits import load_digits
from tinymixer.data.fashion_mnist import find_fashion_mnist, load_fashion_mnist
from tinymixer.data.folders import holds_classes
from tinymixer.data.manifest import Manifest, cache_folder, datasets_folder, load_manifest
from tinymixer.data.paths import expanded, shown
from tinymixer.errors import DataError

OWN_SIZE = 64  # pixels a side that pictures are resized to when no size is given
OWN_DATA = "a folder with a folder of pictures for each class, or an .npz file with 'images' and 'labels'"


def load_dataset(
    name: str,
    path: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    *,
    image_size: int | None = None,
    colours: str = "auto",
    fit: str = "crop",
    test_share: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load a data set by name, or your own images from `path`.

    name         "digits" (bundled), "cifar10", "cifar100", "fashion_mnist" (fetched before, or at `path`), or "own" for
                 your own images
    path         an archive or folder of CIFAR (see `load_cifar`), a folder with the files of Fashion-MNIST, a folder
                 with a folder of pictures for each class (`Dataset.from_folder`), or an .npz file (`Dataset.from_npz`).
                 The files found there decide which data set it is, whatever `name` says (`recognise`)
    cache        where fetched archives are kept (see `cache_folder`)
    image_size, colours, fit   how your own pictures are read: see `Dataset.from_folder`
    test_share, seed           the seed draws this share of your own images as the test set where they have none

    Nothing is downloaded: `fetch` does that. Raises DataError when the data is missing, damaged or unknown.
    """
    if path is not None:
        path = expanded(path)
        name = recognise(path, name)
        if name == "own" and path.suffix.lower() == ".npz" and not path.is_dir():
            return Dataset.from_npz(path, test_share=test_share, seed=seed)
        if name == "own":
            size = OWN_SIZE if image_size is None else image_size
            return Dataset.from_folder(path, size, colours=colours, fit=fit, test_share=test_share, seed=seed)
    if name == "own":
        raise DataError(f"Your own images need a path: {OWN_DATA} (--data PATH).")
    manifest = load_manifest(name)
    if manifest.bundled is not None:
        if path is not None:
            fault = "holds no images that tinymixer knows how to read" if path.exists() else "does not exist"
            raise DataError(
                f"{shown(path)} {fault}, and the {name} data set comes with tinymixer and takes no path: leave the "
                f"path out, or give {OWN_DATA}."
            )
        return load_digits()
    if path is None:
        path = cached_path(manifest, cache)
        if path is None:
            raise DataError(
                f"{manifest.title} is not here yet: fetch it with `tinymixer data fetch {name}`, or give an archive or "
                "folder you have with `--data PATH`."
            )
    return load_fashion_mnist(path) if name == "fashion_mnist" else load_cifar(name, path)


def recognise(path: Path, name: str) -> str:
    """Find out which data set lies at a path: a known data set's name, or "own"; `name` when nothing there tells.

    A folder of CIFAR-10, CIFAR-100 or Fashion-MNIST is recognised by its files, an archive by its size, your own images
    by their class folders or the ending .npz. So the data is loaded as what it is, even under a wrong name.
    """
    if path.is_dir():
        found = [each for each in LAYOUTS if is_cifar(each, path)]
        found += ["fashion_mnist"] if find_fashion_mnist(path) is not None else []
        if found:
            return name if name in found else found[0]
        return "own" if holds_classes(path) else name
    if path.suffix.lower() == ".npz":
        return "own"
    if path.is_file():
        sizes = {archive.bytes: each for each in LAYOUTS for archive in load_manifest(each).archives}
        return sizes.get(path.stat().st_size, name)
    return name


def cached_path(manifest: Manifest, cache: str | os.PathLike[str] | None = None) -> Path | None:
    """The path of a data set's fetched archive, or of the folder with all its files; None when it is not fetched."""
    folder = cache_folder(cache) / manifest.parts_folder
    files = [folder / archive.file for archive in manifest.archives]
    if manifest.parts_folder:
        return folder if all(file.is_file() for file in files) else None
    return next((file for file in files if file.is_file()), None)


def dataset_info(name: str, cache: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The facts about a data set as plain values for JSON: its manifest, and what is on this machine.

    `available` says whether it can be loaded now, and `path` from where (None when it must be fetched first). `partial`
    lists interrupted downloads and the bytes that each has. Raises DataError for an unknown name.
    """
    manifest = load_manifest(name)
    folder = cache_folder(cache) / manifest.parts_folder
    if manifest.bundled is not None:
        path: Path | None = datasets_folder() / manifest.bundled.file
    else:
        path = cached_path(manifest, cache)
    here = path is not None and path.exists()
    files = [folder / archive.file for archive in manifest.archives] if manifest.parts_folder else [path]
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
        "fingerprint": manifest.fingerprint,
        "available": here,
        "path": None if path is None else str(path),
        "bytes": sum(file.stat().st_size for file in files if file is not None) if here else None,
        "partial": partial,
        "cache": str(folder),
        "archives": [
            {"file": archive.file, "bytes": archive.bytes, "sha256": archive.sha256, "urls": list(archive.urls)}
            for archive in manifest.archives
        ],
    }
