"""Data sets from your own pictures: the class of each file, and whether it is for training, validation or test."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinymixer.data.arrays import statistics
from tinymixer.data.dataset import Dataset
from tinymixer.data.images import checked_size, picture_endings, require_pillow
from tinymixer.data.paths import expanded, shown
from tinymixer.data.pictures import channels_of, in_both, left_out, read_pictures
from tinymixer.data.split import hold_out
from tinymixer.errors import ConfigError, DataError, nearest

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Picture:
    """A file, the class it belongs to, and the part of the data: "train", "val" or "test"."""

    path: Path
    label: int
    part: str


def dataset_from_folder(
    path: str | os.PathLike[str], image_size: int, colours: str, fit: str, test_share: float, seed: int
) -> Dataset:
    """A data set from pictures: `path` holds one folder per class, or train/, val/ and test/ with one folder per class.

    image_size   pictures are turned upright and resized to this many pixels a side
    colours      "grey", "colour", or "auto": colour if any picture is in colour
    fit          "crop" takes the central square of a picture; "squeeze" resizes all of it to a square
    test_share   used when there is no test set: the seed draws this share of each class as the test set

    val/ beside test/ is the validation set; without test/ it is the test set. A picture that cannot be read is left out
    and named in `notes`. Only the resized images are held in memory.

    Raises DataError, with the folder's name, for a class without pictures, fewer than two classes, or a folder inside
    a class's folder.
    """
    if colours not in ("auto", "grey", "colour"):
        raise ConfigError(f"colours expects auto, grey or colour, got '{colours}'")
    image_size = checked_size(image_size)
    require_pillow()
    folder = expanded(path)
    class_names, pictures, notes = find_pictures(folder)
    drawn = not any(each.part == "test" for each in pictures)
    if drawn:
        pictures = _set_test_apart(pictures, test_share, seed)
    channels = channels_of([each.path for each in pictures]) if colours == "auto" else {"grey": 1, "colour": 3}[colours]
    train, test = ([each for each in pictures if (each.part == "test") == is_test] for is_test in (False, True))
    train_images, found, broken = read_pictures([each.path for each in train], image_size, channels, fit)
    read = [train[index] for index in found]
    _require_each_class(class_names, train, read)
    test_images, found, broken_too = read_pictures([each.path for each in test], image_size, channels, fit)
    read_test = [test[index] for index in found]
    if drawn:
        moved, told = _instead_of_broken(class_names, read, test, read_test, test_share, seed)
        notes += told
        stays = np.setdiff1d(np.arange(len(read)), moved)
        test_images = np.concatenate([test_images, train_images[moved]])
        read_test += [replace(read[index], part="test") for index in moved]
        train_images, read = train_images[stays] if len(moved) else train_images, [read[index] for index in stays]
    notes += left_out(broken + broken_too)
    notes += in_both(train_images, [each.path for each in read], test_images, [each.path for each in read_test])
    validation = np.flatnonzero([each.part == "val" for each in read])
    return Dataset(
        shown(folder.absolute().name) or "photos",
        train_images,
        np.array([each.label for each in read], np.int64),
        test_images,
        np.array([each.label for each in read_test], np.int64),
        class_names,
        *statistics(train_images),
        source=shown(folder.absolute()),
        validation_indices=validation if validation.size else None,
        notes=tuple(notes),
        test_drawn=drawn,
    )


def holds_classes(folder: Path) -> bool:
    """Whether the folder looks like a data set with one folder of pictures per class."""
    return folder.is_dir() and bool(_folders(folder))


def find_pictures(folder: Path) -> tuple[list[str], list[Picture], list[str]]:
    """Return the class names, all files that may be pictures, and notes on the other files."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {shown(folder)}.")
    parts = _parts(folder)
    class_names = [shown(each.name) for each in _folders(parts["train"])]
    if len(class_names) < 2:
        found = f"one folder, {class_names[0]}" if class_names else "no folders"
        raise DataError(
            f"{shown(parts['train'])} holds {found}: expected a folder with pictures for each of at least two classes."
        )
    pictures: list[Picture] = []
    loose: list[Path] = []
    strange: list[Path] = []
    for part, place in parts.items():
        loose += [file for file in _listed(place) if not file.is_dir() and not _is_hidden(file)]
        for class_folder in _folders(place):
            name = shown(class_folder.name)
            if name not in class_names:
                raise DataError(
                    f"{shown(class_folder)} is a class that {shown(parts['train'])} does not have: it has "
                    f"{', '.join(class_names)}.{nearest(name, class_names)}"
                )
            label, files = class_names.index(name), list(_files(class_folder, strange))
            if not files and part == "train":
                raise DataError(f"{shown(class_folder)} holds no picture: fill it, or remove the folder.")
            pictures += [Picture(file, label, part) for file in files]
    notes = _noted(loose, "in no class's folder") + _noted(strange, "no picture{s}, going by the name")
    return class_names, pictures, notes


def pictures_below(folder: Path) -> dict[str, list[Path]]:
    """The pictures in each of the folder's subfolders, by the subfolder's name, in natural order.

    Raises DataError for a folder without subfolders, or without a picture in any of them.
    """
    require_pillow()
    found = {shown(each.name): list(_files(each, [])) for each in _folders(folder)}
    if not any(found.values()):
        raise DataError(
            f"{shown(folder)} holds no pictures in subfolders: expected a subfolder for each class, with its pictures."
        )
    return found


def _parts(folder: Path) -> dict[str, Path]:
    """Find the folders that hold the classes: "train", and "val" and "test" where they exist.

    A folder that is called train but holds pictures is itself a class.
    """
    inside = _folders(folder)
    named = [each for each in inside if each.name.lower() in PARTS]
    parts = {PARTS[each.name.lower()]: each for each in named}
    if "train" not in parts or not _folders(parts["train"]):
        return {"train": folder}
    if len(parts) < len(inside):
        others = ", ".join(shown(each.name) for each in inside if each not in parts.values())
        raise DataError(
            f"{shown(folder)} holds {parts['train'].name}/ and {others} beside it: expected one folder each for "
            "training, validation (val/) and test (test/), and nothing else."
        )
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
    return {part: parts[part] for part in ("train", "val", "test") if part in parts}


def _set_test_apart(pictures: list[Picture], share: float, seed: int) -> list[Picture]:
    """Move a share of each class to the test images."""
    labels = np.array([each.label for each in pictures])
    _, chosen = hold_out(labels, share, seed, purpose=1)
    test = set(chosen.tolist())
    return [replace(each, part="test") if index in test else each for index, each in enumerate(pictures)]


def _instead_of_broken(
    class_names: list[str],
    train: list[Picture],
    test: list[Picture],
    read_test: list[Picture],
    share: float,
    seed: int,
) -> tuple[np.ndarray, list[str]]:
    """Choose new test pictures for the classes whose drawn test pictures are all unreadable.

    Returns positions in `train`, and notes. The test set was drawn from file names before any picture was read, so one
    unreadable picture does not change the draw for the others. A class that lost all of its test pictures draws again
    among its readable training pictures, and keeps at least one to train on.
    """
    lost = {each.label for each in test} - {each.label for each in read_test}
    labels = np.array([each.label for each in train], np.int64)
    moved, notes = [], []
    for label in sorted(lost):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        if count:
            _, chosen = hold_out(np.zeros(len(members), np.int64), count / len(members), seed, purpose=1)
            moved.append(members[chosen])
        instead = f"{count} of its training pictures took their place" if count else "it has none now"
        notes.append(f"no test picture of {class_names[label]} could be read: {instead}")
    return np.concatenate([np.empty(0, np.int64), *moved]), notes


def _listed(folder: Path) -> list[Path]:
    """List a folder in natural order. Raises DataError when it cannot be read."""
    try:
        return sorted(folder.iterdir(), key=lambda each: _natural(each.name))
    except OSError as error:
        raise DataError(f"{shown(folder)} cannot be read: {error.strerror}.") from error


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__")) or path.name.lower() in SYSTEM_FILES


def _folders(folder: Path) -> list[Path]:
    """List the visible folders in a folder, in natural order."""
    return [each for each in _listed(folder) if each.is_dir() and not _is_hidden(each)]


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts "10" after "9"; the name itself decides between "a01" and "a1"."""
    bits = [bit for bit in re.split(r"([0-9]+)", name) if bit]
    return [(0, int(bit), "") if bit[0] in "0123456789" else (1, 0, bit) for bit in bits], name


def _files(folder: Path, strange: list[Path]) -> Iterator[Path]:
    """Yield the files of a class that may be pictures and append the others to `strange`.

    Raises DataError for a folder inside the class's folder.
    """
    endings = picture_endings()
    for file in _listed(folder):
        if _is_hidden(file):
            continue
        if file.is_dir():
            raise DataError(
                f"{shown(folder)} holds a folder, {shown(file.name)}: expected only pictures in a class's folder, so "
                "move them up, or make each of the inner folders a class."
            )
        if file.suffix.lower() in endings and (file.is_file() or not file.exists()):
            yield file  # also a broken link: reading it will report the error
        else:
            strange.append(file)


def _require_each_class(class_names: list[str], pictures: list[Picture], read: list[Picture]) -> None:
    """Raise DataError unless every class has a readable training picture."""
    there = {each.label for each in read if each.part == "train"}
    for label, name in enumerate(class_names):
        if label not in there:
            files = [each.path for each in pictures if each.label == label and each.part == "train"]
            raise DataError(
                f"None of the {len(files)} training pictures of the class {name} can be read, {shown(files[0])} first."
            )


def _noted(files: list[Path], why: str) -> list[str]:
    """One line about files that were left out; {s} in `why` becomes "s" for several files and "" for one."""
    if not files:
        return []
    more = len(files) - 1
    others = f" and {more} more file{'s' if more > 1 else ''} are" if more else " is"
    return [f"left out: {shown(files[0])}{others} {why.format(s='s' if more else '')}"]
