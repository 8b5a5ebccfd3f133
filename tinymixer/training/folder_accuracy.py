"""Measures published weights on a folder of pictures laid out like ImageNet's: a subfolder for each class."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from tinymixer.abilities import thread_pool
from tinymixer.data.folders import pictures_below
from tinymixer.data.paths import expanded, shown
from tinymixer.errors import DataError, nearest
from tinymixer.pretrained import PretrainedModel
from tinymixer.pretrained.model import softmax
from tinymixer.training.evaluate import accuracy_interval

AT_ONCE = 32  # pictures in memory
READERS = 2  # threads that read pictures; the engine has its own
SYNSET = re.compile(r"n[0-9]{8}")
MOST_NOTES = 5
PARTS = ("val", "test", "validation")


@dataclass(frozen=True)
class FolderAccuracy:
    """What a model made of a folder's pictures.

    top1, top5    pictures whose class was the most probable one, or among the five most probable
    images        pictures that could be read;  broken   a sentence for each that could not
    true, right   label -> pictures of that class, and those of them that were classified correctly
    confusions    (true label, predicted label) -> pictures
    loss          mean cross-entropy
    with_tta      the same with test-time augmentation, where that was asked for; all else is without
    """

    images: int
    top1: int
    top5: int
    loss: float
    true: Mapping[int, int]
    right: Mapping[int, int]
    confusions: Mapping[tuple[int, int], int]
    broken: list[str] = field(default_factory=list)
    with_tta: "FolderAccuracy | None" = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the top-1 accuracy."""
        return accuracy_interval(self.top1, self.images)

    def worst(self, count: int) -> list[tuple[int, int, int]]:
        """The most frequent confusions: (true label, predicted label, pictures)."""
        ordered = sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))
        return [(*pair, number) for pair, number in ordered[:count]]


def labelled_pictures(loaded: PretrainedModel, folder: str | Path) -> list[tuple[Path, int]]:
    """The folder's pictures, each with its label: (file, place of its class among the model's).

    A class's subfolder is named by its synset ("n01440764"), by its number ("0", "0000"), or by its class name; the
    subfolders may lie in val/ or test/. Raises DataError for a name that is no class of the model.
    """
    place = _part(expanded(folder))
    found = pictures_below(place)
    labels = {name: _label(loaded, name, place) for name in found}
    return [(path, labels[name]) for name, paths in found.items() for path in paths]


def measure_folder(
    loaded: PretrainedModel,
    pictures: list[tuple[Path, int]],
    progress: Callable[[int], None] = lambda done: None,
    tta: str = "none",
) -> FolderAccuracy:
    """Classify the pictures; memory holds some of them at a time. progress hears how many are done.

    tta   test-time augmentation ("mirror", "shift", "all"): its results come apart, in `FolderAccuracy.with_tta`

    A picture that cannot be read is named and not counted. Raises DataError where none can be.
    """
    plain, averaged, broken, done = _Counts(), _Counts(), [], 0
    for batch in _batches(loaded, pictures):
        done += len(batch)
        read = [(image, label) for image, label in batch if not isinstance(image, str)]
        broken += [image for image, _ in batch if isinstance(image, str)]
        progress(done)
        if not read:
            continue
        logits = loaded.logits_with_tta(np.stack([image for image, _ in read]), tta)  # two, (b, K)
        for counts, rows in zip((plain, averaged), logits if tta != "none" else logits[:1], strict=False):
            counts.add(softmax(rows), [label for _, label in read])
    if not plain.true:
        raise DataError(f"none of the {len(pictures)} pictures can be read; the first: {broken[0]}")
    return plain.result(broken, None if tta == "none" else averaged.result(broken))


class _Counts:
    """Counts what a `FolderAccuracy` holds."""

    def __init__(self) -> None:
        self.top1 = self.top5 = 0
        self.loss = 0.0
        self.true, self.right = Counter[int](), Counter[int]()
        self.confusions = Counter[tuple[int, int]]()

    def add(self, probabilities: np.ndarray, labels: list[int]) -> None:
        """Count pictures: probabilities (b, K), b labels."""
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]  # (b, 5)
        for row, order, label in zip(probabilities, best, labels, strict=True):
            self.true[label] += 1
            self.loss -= float(np.log(max(row[label], np.finfo(np.float64).tiny)))
            self.top5 += int(label in order)
            if order[0] == label:
                self.top1 += 1
                self.right[label] += 1
            else:
                self.confusions[label, int(order[0])] += 1

    def result(self, broken: list[str], with_tta: FolderAccuracy | None = None) -> FolderAccuracy:
        images = sum(self.true.values())
        return FolderAccuracy(
            images, self.top1, self.top5, self.loss / images, self.true, self.right, self.confusions, broken, with_tta
        )


def _batches(loaded: PretrainedModel, pictures: list[tuple[Path, int]]) -> Iterator[list[tuple[np.ndarray | str, int]]]:
    """Batches of (image, or a sentence where it cannot be read; label), the next one read while one is computed."""

    def read(picture: tuple[Path, int]) -> tuple[np.ndarray | str, int]:
        try:
            return loaded.preprocessing(picture[0]), picture[1]
        except DataError as error:
            return str(error), picture[1]

    waiting = iter(pictures)
    with thread_pool(READERS) as pool:
        ahead = [pool.submit(read, each) for each in islice(waiting, AT_ONCE)]
        while ahead:
            following = [pool.submit(read, each) for each in islice(waiting, AT_ONCE)]
            yield [future.result() for future in ahead]
            ahead = following


def _part(folder: Path) -> Path:
    """The folder that holds the classes: itself, or its val/ or test/ where it has one of these."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {shown(folder)}.")
    for part in PARTS:
        if (folder / part).is_dir():
            return folder / part
    return folder


def _label(loaded: PretrainedModel, name: str, folder: Path) -> int:
    if loaded.synsets is not None and SYNSET.fullmatch(name):
        if name in loaded.synsets:
            return loaded.synsets.index(name)
        raise DataError(f"the model knows no class {name}, a folder in {shown(folder)}: it knows {_known(loaded)}")
    for written in (name, name.replace("_", " ")):
        if written in loaded.class_names:
            return loaded.class_names.index(written)
    if name.isascii() and name.isdigit() and len(name) <= 6 and int(name) < len(loaded.class_names):
        return int(name)
    raise DataError(
        f"{shown(folder)} holds a folder '{name}', which is no class of the model: expected synsets, numbers or names "
        f"of its {_known(loaded)}.{nearest(name, loaded.class_names)}"
    )


def _known(loaded: PretrainedModel) -> str:
    return f"{len(loaded.class_names):,} classes"
