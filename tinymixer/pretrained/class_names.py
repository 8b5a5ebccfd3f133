"""The names of the classes that published models tell apart (`imagenet_classes.md` says where they come from)."""

import gzip
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources

SETS = {1: "ImageNet-1k", 2: "ImageNet-21k", 4: "ImageNet-21K-P"}  # a number in the file -> whose classes


@dataclass(frozen=True)
class Classes:
    """The classes of a set of images, in the order of the labels.

    name      of the set, "ImageNet-1k"
    names     different from each other: a class's first name, with its synset where another class has that name too
    synsets   WordNet's numbers, "n01440764"
    """

    name: str
    names: tuple[str, ...]
    synsets: tuple[str, ...]


def imagenet_classes(count: int) -> Classes | None:
    """The ImageNet classes of a model with so many outputs: 1,000, 21,843 or 11,221; else None."""
    return next((classes for classes in _sets() if len(classes.names) == count), None)


@cache
def _sets() -> tuple[Classes, ...]:
    content = resources.files("tinymixer.pretrained").joinpath("imagenet_classes.txt.gz").read_bytes()
    rows, number = [], 0
    for line in gzip.decompress(content).decode().splitlines():
        step, flags, first = line.split("\t")
        number += int(step)
        rows.append((f"n{number:08}", int(flags), first))
    sets = []
    for flag, name in SETS.items():
        members = [(synset, first) for synset, flags, first in rows if flags & flag]
        often = Counter(first for _, first in members)
        names_of_set = tuple(first if often[first] == 1 else f"{first} ({synset})" for synset, first in members)
        sets.append(Classes(name, names_of_set, tuple(synset for synset, _ in members)))
    return tuple(sets)
