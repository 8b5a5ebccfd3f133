"""Reads `datasets/NAME.toml`, the manifest of a data set: its classes, normalisation, files and their hashes."""

import os
import tempfile
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinymixer.data.paths import expanded
from tinymixer.errors import DataError, nearest

DATASETS = ("digits", "cifar10", "cifar100", "fashion_mnist")


@dataclass(frozen=True)
class BundledFile:
    """A file that comes with the package."""

    file: str
    bytes: int
    sha256: str
    md5: str


@dataclass(frozen=True)
class Archive:
    """An archive that can be fetched; every one of its URLs gives the same bytes."""

    file: str
    layout: str
    bytes: int
    sha256: str
    md5: str
    urls: tuple[str, ...]
    folder: str = ""  # the folder that it unpacks to


@dataclass(frozen=True)
class Manifest:
    """The contents of a manifest.

    archives       without a `parts_folder`, any one of them is enough; with one, all of them are needed
    parts_folder   the folder in the cache for a data set of several files; "" for one of a single file
    fingerprint    `Dataset.fingerprint` of the loaded images; None where it is not known
    """

    name: str
    title: str
    homepage: str
    license: str
    citation: str
    class_names: tuple[str, ...]
    image_size: int
    channels: int
    train_images: int
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    license_url: str | None = None
    bundled: BundledFile | None = None
    fingerprint: str | None = None
    parts_folder: str = ""
    archives: tuple[Archive, ...] = field(default=())


def datasets_folder() -> Path:
    """The folder of the cards, manifests and bundled data: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "datasets", package.parent / "datasets"):
        if (folder / "digits.toml").is_file():
            return folder
    raise DataError(
        f"The folder 'datasets' with the manifests is missing beside {package}; install tinymixer again, "
        "or run it from a whole checkout."
    )


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """The folder for fetched archives; it need not exist yet.

    It is `cache`, else $TINYMIXER_CACHE, else $XDG_CACHE_HOME/tinymixer, else ~/.cache/tinymixer (on every system, as
    with PyTorch and Hugging Face). A user without a home folder (in a container, say) gets a temporary folder.
    """
    if cache is not None:
        return expanded(cache)
    if chosen := os.environ.get("TINYMIXER_CACHE"):
        return expanded(chosen)
    # The XDG specification tells programs to ignore a relative path.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "tinymixer"
    try:
        return Path.home() / ".cache" / "tinymixer"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "tinymixer"


def load_manifest(name: str) -> Manifest:
    """The manifest of a data set by name. Raises DataError for a name that is not in DATASETS."""
    if name not in DATASETS:
        raise DataError(
            f"There is no data set '{name}'; tinymixer knows {', '.join(DATASETS)}.{nearest(name, DATASETS)}"
        )
    return _read_manifest(name)


@cache
def _read_manifest(name: str) -> Manifest:
    with (datasets_folder() / f"{name}.toml").open("rb") as file:
        content = tomllib.load(file)
    if "bundled" in content:
        content["bundled"] = BundledFile(**content["bundled"])
    content["archives"] = tuple(
        Archive(**{**archive, "urls": tuple(archive["urls"])}) for archive in content.get("archives", ())
    )
    for name_of_list in ("class_names", "mean", "std"):
        content[name_of_list] = tuple(content[name_of_list])
    return Manifest(**content)
