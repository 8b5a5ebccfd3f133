"""Reads many picture files into one array of images, and writes the notes about them."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from tinymixer.abilities import thread_pool
from tinymixer.data.images import opened_picture, read_picture
from tinymixer.data.paths import shown
from tinymixer.errors import DataError

GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"}
MOST_NOTES = 5
MOST_THREADS = 8


def channels_of(paths: Sequence[Path]) -> int:
    """1 if every picture is grey, else 3. Reads only the files' headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            # An unreadable file is skipped here: `read_pictures` reports it.
            with suppress(DataError), opened_picture(path, shown(path)) as picture:
                if picture.mode not in GREY_MODES:
                    return 3
    return 1


def read_pictures(
    paths: Sequence[Path], image_size: int, channels: int, fit: str
) -> tuple[np.ndarray, list[int], list[str]]:
    """Read and resize pictures on several threads.

    Returns the images (n, size, size, channels) of the n readable pictures, their positions in `paths`, and an error
    message for each of the others. Besides the result, memory holds one decoded picture per thread. (Pillow releases
    Python's lock while it decodes and resizes, so threads do speed this up.)
    """
    try:
        images = np.empty((len(paths), image_size, image_size, channels), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{len(paths):,} images of {image_size} x {image_size} pixels do not fit into memory: choose a smaller "
            "image_size."
        ) from error

    def read(place: int) -> str | None:
        try:
            images[place] = read_picture(paths[place], image_size, channels, fit)
        except DataError as error:
            return str(error).rstrip(".")
        return None

    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = thread_pool(threads)
        try:
            errors = list(pool.map(read, range(len(paths))))
        finally:
            pool.shutdown(cancel_futures=True)
    found = [place for place, error in enumerate(errors) if error is None]
    if len(found) < len(paths):
        for place, source in enumerate(found):
            images[place] = images[source]
    return images[: len(found)], found, [error for error in errors if error is not None]


def in_both(
    images: np.ndarray, paths: Sequence[Path], test_images: np.ndarray, test_paths: Sequence[Path]
) -> list[str]:
    """A note on pictures that are in both the training and the test set, where they make test accuracy too high."""
    seen = {_digest(image): path for image, path in zip(images, paths, strict=True)}
    twice = [
        (path, seen[digest])
        for image, path in zip(test_images, test_paths, strict=True)
        if (digest := _digest(image)) in seen
    ]
    if not twice:
        return []
    one = f"{shown(twice[0][0])} is {shown(twice[0][1])}"
    if len(twice) == 1:
        return [f"1 of the test images is a training image, too ({one}): the test accuracy flatters"]
    return [f"{len(twice)} of the test images are training images, too ({one}): the test accuracy flatters"]


def left_out(broken: list[str]) -> list[str]:
    """A line for each of the first `MOST_NOTES` unreadable pictures, and a line with the number of the others."""
    lines = [f"left out: {error}" for error in broken[:MOST_NOTES]]
    more = len(broken) - MOST_NOTES
    return lines + ([f"left out: {more} more file{'s' if more > 1 else ''} that cannot be read"] if more > 0 else [])


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.data, digest_size=16).digest()
