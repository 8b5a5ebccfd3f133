"""Checks that arrays are usable images, labels and statistics: their values as well as their types and shapes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinymixer.errors import DataError


def as_array(name: str, values: Any) -> np.ndarray:
    """Convert values to a NumPy array. Raises DataError for arrays of different shapes, or arrays on a GPU."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be one NumPy array, with images of one size ({error}).") from error


def checked_images(name: str, images: Any) -> np.ndarray:
    """Return the images if they are uint8 (N, size, size, channels). Raises DataError, with what to do, if not."""
    images = as_array(name, images)
    if images.dtype != np.uint8 or images.ndim != 4:
        hint = ""
        if images.dtype.kind == "f":
            hint = " Floats from 0 to 1 become (255 * images).round().astype(np.uint8)."
        elif images.dtype.kind in "iu" and images.dtype != np.uint8:
            hint = " Whole numbers from 0 to 255 become images.astype(np.uint8)."
        elif images.ndim == 3:
            hint = " Grey images get their one channel by images[..., None]."
        raise DataError(f"{name} must be uint8 (N, height, width, channels), got {images.dtype} {images.shape}.{hint}")
    height, width = images.shape[1:3]
    if height != width and images.shape[2] == images.shape[3]:
        raise DataError(
            f"{name} have the shape {images.shape}, and channels come last: use images.transpose(0, 2, 3, 1) if these "
            "are (N, channels, height, width)."
        )
    if height != width:
        raise DataError(
            f"{name} are {height} x {width} pixels, and images must be square: cut or resize them, to "
            f"{min(height, width)} x {min(height, width)} for instance."
        )
    if height == 0 or images.shape[3] == 0:
        raise DataError(f"{name} have no pixels, their shape is {images.shape}.")
    return images


def checked_labels(name: str, labels: Any, count: int) -> np.ndarray:
    """Return one class number per image as int64 (N,). Raises DataError, with what to do, for anything else."""
    labels = as_array(name, labels)
    if labels.ndim == 2 and labels.shape[0] == count and labels.shape[1]:
        column = "labels[:, 0]" if labels.shape[1] == 1 else "np.argmax(labels, axis=1), if they are one-hot"
        raise DataError(
            f"{name} must be one class number per image, ({count},), got the shape {labels.shape}: use {column}."
        )
    if labels.shape != (count,) or (labels.dtype.kind not in "iu" and labels.size):
        raise DataError(f"{name} must be whole numbers ({count},), one per image, got {labels.dtype} {labels.shape}.")
    outside = np.flatnonzero(labels > np.iinfo(np.int64).max) if labels.dtype == np.uint64 else labels[:0]
    if outside.size:
        raise DataError(f"{name}[{outside[0]}] is {labels[outside[0]]}, which is not a class number.")
    return labels.astype(np.int64, copy=False)


def require_classes(name: str, labels: np.ndarray, class_names: Sequence[str], dataset: str) -> None:
    """Raise DataError unless every label (N,) is between 0 and the number of classes minus 1."""
    outside = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if outside.size:
        raise DataError(
            f"{name}[{outside[0]}] is {labels[outside[0]]}, but the {len(class_names)} classes of {dataset} are "
            f"numbered 0..{len(class_names) - 1}."
        )


def checked_indices(indices: Any, count: int) -> np.ndarray:
    """Return validation_indices as sorted int64 without repeats.

    Raises DataError unless they are numbers of training images and leave some to train on.
    """
    numbers = as_array("validation_indices", indices)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise DataError(
            f"validation_indices must be whole numbers (n,), numbers of training images, got {numbers.dtype} "
            f"{numbers.shape}."
        )
    chosen = np.unique(numbers).astype(np.int64)
    if chosen.size and not 0 <= chosen[0] <= chosen[-1] < count:
        raise DataError(f"validation_indices must be numbers of training images, 0 to {count - 1}.")
    if chosen.size == count:
        raise DataError("validation_indices name every training image, so that none is left to train on.")
    return chosen


def checked_statistics(name: str, values: Any, channels: int) -> np.ndarray:
    """Return a mean or std as float64 (channels,). Raises DataError for impossible values."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must have one number per channel, ({channels},), got {values!r}.") from error
    if numbers.shape != (channels,):
        raise DataError(f"{name} must have one number per channel, ({channels},), got {values!r}.")
    for channel, number in enumerate(numbers):
        if why := _why_not(name, float(number)):
            raise DataError(f"the {name} of channel {channel} is {float(number)}, {why}.")
    return numbers


def _why_not(name: str, number: float) -> str:
    """Say why this number cannot be the mean or std of pixels scaled to 0..1; "" when it can."""
    if not math.isfinite(number):
        return "which is not a usable number: look for NaN or an overflow where it was computed"
    if name == "std" and number == 0:
        return (
            "and pixels are divided by it: a channel that never changes has a std of 0; leave it out, or give it a std "
            "of 1"
        )
    if number < 0:
        return f"and {'no standard deviation' if name == 'std' else 'no mean of pixels'} is below 0"
    if number > (1 if name == "mean" else 2):  # no real std is above 0.5, but some people choose 1
        return "and pixels are scaled to 0..1: divide a mean and a std of the values 0..255 by 255"
    return ""
