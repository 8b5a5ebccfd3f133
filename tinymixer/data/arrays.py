"""Data sets from your own arrays, in memory or in an .npz file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.data.checks import as_array, checked_images, checked_labels, require_classes
from tinymixer.data.dataset import Dataset
from tinymixer.data.paths import expanded, shown
from tinymixer.data.split import hold_out
from tinymixer.errors import DataError
from tinymixer.npz import npz_file
from tinymixer.text import shortened

# The names that the arrays of an .npz file may have: (images, labels, test images, test labels).
NAMES = (
    ("images", "labels", "test_images", "test_labels"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
MOST_CLASSES = 65_536  # when labels come without class names
MOST_NAMED = 10  # arrays listed in an error message
CHUNK = 1 << 20


def statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean and std per channel, (channels,) each, of pixels scaled to 0..1.

    images uint8 (N, height, width, channels). Counts how often each value 0..255 occurs, which is exact and makes no
    float copy of the images. A constant channel gets a std of 1, so that normalising turns it into zeros.
    """
    counts = np.zeros((images.shape[3], 256), np.int64)
    step = max(1, CHUNK // max(1, images[0].size))
    for start in range(0, len(images), step):
        for channel, channel_counts in enumerate(counts):
            channel_counts += np.bincount(images[start : start + step, ..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    share = counts / np.sum(counts, axis=1, keepdims=True)  # (channels, 256)
    mean = share @ values
    std = np.sqrt(np.sum(share * (values - mean[:, None]) ** 2, axis=1))
    return mean, np.where(std < 1e-6, 1.0, std)


def constant_channels(images: np.ndarray) -> list[str]:
    """A note on the channels that have the same value in every pixel of images (N, height, width, channels)."""
    constant = [
        str(channel) for channel in range(images.shape[3]) if images[..., channel].min() == images[..., channel].max()
    ]
    if not constant:
        return []
    which = f"channel {constant[0]} is" if len(constant) == 1 else f"channels {', '.join(constant)} are"
    return [f"{which} the same in every training image, which tells nothing: the std was taken as 1"]


def require_two_classes(labels: np.ndarray, name: str) -> None:
    """Raise DataError when all labels (N,), N > 0, are of the same class."""
    if labels.min() == labels.max():
        raise DataError(
            f"the training images of {name} are all of class {labels[0]}: expected images of at least two classes, "
            "since there is nothing to tell apart."
        )


def dataset_from_arrays(
    images: Any,
    labels: Any,
    test_images: Any,
    test_labels: Any,
    class_names: Sequence[str] | None,
    name: str,
    source: str,
    test_share: float,
    seed: int,
) -> Dataset:
    """See `Dataset.from_arrays`."""
    if (test_images is None) != (test_labels is None):
        raise DataError("Test images need test labels, and the other way round: give both or neither.")
    train = _checked("", images, labels)
    test = None if test_images is None else _checked("test_", test_images, test_labels)
    if class_names is None:
        class_names = _numbered([train, test] if test else [train])
    require_classes("labels", train[1], class_names, name)
    drawn = test is None
    if test is None:
        kept, held_out = hold_out(train[1], test_share, seed, purpose=1)
        train, test = (train[0][kept], train[1][kept]), (train[0][held_out], train[1][held_out])
    if not len(train[0]):
        raise DataError(f"{name} has no training images.")
    mean, std = statistics(train[0])
    require_two_classes(train[1], name)
    counts = np.bincount(train[1].astype(np.intp), minlength=len(class_names))
    empty = [str(name) for name, count in zip(class_names, counts, strict=False) if not count]
    notes = [f"{_listed(empty)} {'has' if len(empty) == 1 else 'have'} no training image"] if empty else []
    notes += constant_channels(train[0])
    return Dataset(name, *train, *test, list(class_names), mean, std, source, notes=tuple(notes), test_drawn=drawn)


def dataset_from_npz(path: str | os.PathLike[str], test_share: float, seed: int) -> Dataset:
    """A data set from an .npz file with the arrays images and labels.

    The arrays test_images, test_labels and class_names are optional. Keras' names (x_train, y_train, x_test, y_test)
    work, too. Nothing is unpickled, and a file that unpacks to over a hundred times its size is refused. Raises
    DataError for a file that is missing or damaged, or holds other arrays.
    """
    path = expanded(path)
    arrays = _read_npz(path)
    images, labels, test_images, test_labels = (
        arrays.get(name) for name in next(names for names in NAMES if names[0] in arrays)
    )
    class_names = _names(arrays["class_names"]) if "class_names" in arrays else None
    source = shown(path.absolute())
    try:
        return dataset_from_arrays(
            images, labels, test_images, test_labels, class_names, shown(path.stem), source, test_share, seed
        )
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from error


def _checked(prefix: str, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check images and labels; grey images (N, height, width) get their channel axis. Raises DataError."""
    images = as_array(f"{prefix}images", images)
    images = checked_images(f"{prefix}images", images[..., None] if images.ndim == 3 else images)
    return images, checked_labels(f"{prefix}labels", labels, len(images))


def _numbered(parts: list[tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Class names "0", "1", ... up to the largest label. Raises DataError when that would be too many."""
    largest = max((int(labels.max()) for _, labels in parts if labels.size), default=0)
    if largest >= MOST_CLASSES:
        raise DataError(
            f"the largest label is {largest}, so there would be {largest + 1:,} classes: number the classes from 0, or "
            "give class_names."
        )
    return [str(label) for label in range(largest + 1)]


def _names(array: np.ndarray) -> list[str]:
    """Class names from an array of text, bytes or numbers."""
    values = array.ravel().tolist()
    return [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value) for value in values]


def _listed(classes: list[str], most: int = 5) -> str:
    """Class names as part of a sentence, such as "the class 0" or "the classes 0, 3 and 4"."""
    shown_names = classes[:most] + ([f"{len(classes) - most} more"] if len(classes) > most else [])
    if len(shown_names) == 1:
        return f"the class {shown_names[0]}"
    return f"the classes {', '.join(shown_names[:-1])} and {shown_names[-1]}"


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read from the file the arrays that make a data set, and no others. Raises DataError when there are none."""
    what = f"{shown(path)} cannot be read as an .npz file"
    advice = ". It is damaged or another file; np.savez(FILE, images=images, labels=labels) makes one"
    with npz_file(path, DataError, what, advice) as archive:
        found = set(archive.names)
        names = next((names for names in NAMES if names[0] in found and names[1] in found), None)
        if names is None:
            held = ", ".join(shortened(name, 40) for name in sorted(found)[:MOST_NAMED]) or "no array"
            raise DataError(
                f"{shown(path)} holds {held}: expected 'images' and 'labels' (and perhaps 'test_images', "
                "'test_labels', 'class_names'), or 'x_train' and 'y_train'."
            )
        return archive.read([name for name in (*names, "class_names") if name in found], compressed=True)
