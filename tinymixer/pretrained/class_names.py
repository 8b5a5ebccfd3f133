"""The names of the classes that published models tell apart (`imagenet_classes.md` says where they come from)."""

import gzip
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources

SETS = {1_000: (1, "ImageNet-1k"), 21_843: (2, "ImageNet-21k"), 11_221: (4, "ImageNet-21K-P")}
# number of classes -> the set's number in the file, and its name


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


@cache
def imagenet_classes(count: int) -> Classes | None:
    """The ImageNet classes of a model with so many outputs: 1,000, 21,843 or 11,221; else None."""
    if count not in SETS:
        return None
    flag, name = SETS[count]
    content = resources.files("tinymixer.pretrained").joinpath("imagenet_classes.txt.gz").read_bytes()
    members, number = [], 0
    for line in gzip.decompress(content).decode().splitlines():
        step, flags, first = line.split("\t")
        number += int(step)
        if int(flags) & flag:
            members.append((f"n{number:08}", first))
    often = Counter(first for _, first in members)
    names = tuple(first if often[first] == 1 else f"{first} ({synset})" for synset, first in members)
    return Classes(name, names, tuple(synset for synset, _ in members))
