"""The published weights that tinymixer knows by name, and where their files lie once they are fetched.

`cards/` holds a manifest (FAMILY.toml) and a card (FAMILY.md) for each family of weights: those that were trained in
the same way. Their sizes and hashes are published nowhere, so the first fetch records them (`record.py`).
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinymixer.data.manifest import cache_folder
from tinymixer.errors import CheckpointError, nearest
from tinymixer.pretrained.record import read_record

KINDS = {"authors-npz": ".npz", "timm-safetensors": ".safetensors"}  # kind of file -> the end of its name
ROUGHLY = 0.01  # by how much of itself a file's size may differ from `about_bytes`


@dataclass(frozen=True)
class Entry:
    """Published weights.

    name            what they are called here
    family          the name of their manifest and card
    kind            "authors-npz" or "timm-safetensors": how the file is written
    variant         the model, such as "B/16"
    classes         K
    class_names     a list of names: "imagenet1k", "imagenet21k"; "" where the classes have no names here
    gelu            "tanh" or "erf"
    preprocessing   the name of what is done to a picture
    url             where the file is published
    about_bytes     its size, roughly
    bytes, sha256   its exact size and hash, where they are published; else None
    top1            accuracy on ImageNet-1k's validation pictures, in per cent, by `top1_source`; None where not known
    remark          what people should know before they wonder
    refused         why these weights are not read; "" for all that are
    """

    name: str
    family: str
    title: str
    kind: str
    variant: str
    classes: int
    class_names: str
    gelu: str
    preprocessing: str
    url: str
    about_bytes: int
    licence: str
    source: str
    citation: str
    bytes: int | None = None
    sha256: str | None = None
    top1: float | None = None
    top1_source: str = ""
    remark: str = ""
    refused: str = ""

    @property
    def file(self) -> str:
        """The file's name in the cache, and on a mirror."""
        return f"{self.name}{KINDS[self.kind]}"

    def is_plausible(self, size: int) -> bool:
        """Whether a file of that many bytes may be it."""
        return (
            size == self.bytes if self.bytes is not None else abs(size - self.about_bytes) <= ROUGHLY * self.about_bytes
        )

    def card(self) -> str:
        """The card of its family: Markdown."""
        return _cards().joinpath(f"{self.family}.md").read_text(encoding="utf-8")


def entries() -> Mapping[str, Entry]:
    """All published weights by name, in the order of a list."""
    return _entries()


def entry_of(name: str) -> Entry:
    """The published weights of that name. Raises CheckpointError for an unknown name, suggesting the nearest."""
    known = entries()
    if name not in known:
        raise CheckpointError(
            f"there are no published weights '{name}': `tinymixer weights list` names them all.{nearest(name, known)}"
        )
    return known[name]


def readable_entry(name: str) -> Entry:
    """`entry_of`, for weights that can be read. Raises CheckpointError for those that are listed and refused."""
    entry = entry_of(name)
    if entry.refused:
        raise CheckpointError(f"'{name}' is known, but {entry.refused}")
    return entry


def find(name: str, cache: str | os.PathLike[str] | None = None) -> Path:
    """The fetched file of published weights.

    cache   as for data sets (`tinymixer.data.manifest.cache_folder`)

    Raises CheckpointError for an unknown name, for weights that are refused, and where the file is not fetched yet or
    has another size than it should; the sentence names the command that fetches it. The hash is compared by `fetch`.
    """
    entry = readable_entry(name)
    path, record = path_of(entry, cache), read_record(weights_folder(cache), name)
    if not path.is_file():
        begun = path.with_name(f"{path.name}.part")
        so_far = f" ({begun.stat().st_size:,} bytes so far)" if begun.is_file() else ""
        raise CheckpointError(f"{name} is not fetched yet{so_far}: `tinymixer weights fetch {name}`")
    size = path.stat().st_size
    if not (size == record.bytes if record is not None else entry.is_plausible(size)):
        raise CheckpointError(f"{path} has {size:,} bytes, which {name} has not: `tinymixer weights fetch {name}`")
    return path


def weights_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """The folder for fetched weights; it need not exist yet."""
    return cache_folder(cache) / "weights"


def path_of(entry: Entry, cache: str | os.PathLike[str] | None = None) -> Path:
    """Where the file of these weights lies once it is fetched."""
    return weights_folder(cache) / entry.file


@cache
def _entries() -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for family in _FAMILIES:
        table = tomllib.loads(_cards().joinpath(f"{family}.toml").read_text(encoding="utf-8"))
        shared = {name: value for name, value in table.items() if name != "weights"}
        for own in table["weights"]:
            values: dict[str, Any] = {"family": family} | shared | own
            unknown = set(values) - {field.name for field in fields(Entry)}
            assert not unknown, f"{family}.toml: {unknown}"
            found[values["name"]] = Entry(**values)
    return MappingProxyType(found)


def _cards() -> Any:
    return resources.files("tinymixer").joinpath("pretrained", "cards")


_FAMILIES = ("gsam", "imagenet1k", "imagenet21k", "sam", "timm", "miil", "gmixer")
CATALOGUE = entries()
