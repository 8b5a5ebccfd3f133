"""What `datasets/NAME.toml` says of a data set: its classes, its normalisation, its files and their hashes."""

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
    """An archive that can be fetched: the same bytes from every one of its URLs."""

    file: str
    layout: str
    bytes: int
    sha256: str
    md5: str
    urls: tuple[str, ...]
    folder: str = ""  # what it unpacks to


@dataclass(frozen=True)
class Manifest:
    """A manifest as read from its TOML file.

    archives       those of which one will do; all of them are needed where there is a `parts_folder`
    parts_folder   the folder of the cache that holds them, then
    fingerprint    `Dataset.fingerprint` of the loaded images, where it is known
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
    """Where the cards, manifests and bundled data are: in an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "datasets", package.parent / "datasets"):
        if (folder / "digits.toml").is_file():
            return folder
    raise DataError(
        f"The folder 'datasets' with the manifests is missing beside {package}; install tinymixer again, "
        "or run it from a whole checkout."
    )


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Where fetched archives are kept: `cache`, else $TINYMIXER_CACHE, else $XDG_CACHE_HOME/tinymixer, else
    ~/.cache/tinymixer (on every system, as PyTorch and Hugging Face do). Who has no home folder, as in a container
    that runs under a number, gets a folder among the system's temporary ones. It need not exist yet."""
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
