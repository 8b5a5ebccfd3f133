"""A labelled set of small images, split in training and test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinymixer.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory.

    train_images, test_images: uint8 (N, height, width, channels). train_labels, test_labels: int64 (N,), 0..K-1.
    class_names: the K names. mean, std: float64 (channels,), of the training pixels scaled to 0..1.
    Raises DataError when these do not fit together, so that a data set of your own is checked where it is made.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: list[str]
    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        for part, images, labels in (
            ("train", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != np.uint8 or images.ndim != 4:
                raise DataError(
                    f"{part}_images must be uint8 (N, height, width, channels), got {images.dtype} {images.shape}."
                )
            if labels.dtype != np.int64 or labels.shape != (len(images),):
                raise DataError(
                    f"{part}_labels must be int64 ({len(images)},), one per image, got {labels.dtype} {labels.shape}."
                )
            outside = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
            if outside.size:
                raise DataError(
                    f"{part}_labels[{outside[0]}] is {labels[outside[0]]}, but the {self.num_classes} classes of "
                    f"{self.name} are numbered 0..{self.num_classes - 1}."
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"The training images of {self.name} are {self.train_images.shape[1:]}, "
                f"the test images {self.test_images.shape[1:]}; both must have one shape."
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if np.shape(values) != (self.in_channels,):
                raise DataError(f"{name} must have one number per channel, ({self.in_channels},), got {values!r}.")

    @property
    def image_size(self) -> int:
        """Height of the images in pixels."""
        return int(self.train_images.shape[1])

    @property
    def in_channels(self) -> int:
        return int(self.train_images.shape[3])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def normalise(images: np.ndarray, mean: ArrayLike, std: ArrayLike, dtype: DTypeLike = np.float32) -> np.ndarray:
    """uint8 images (B, height, width, channels) -> (images / 255 - mean) / std, float of the same shape.

    mean, std: one number per channel, of pixels scaled to 0..1.
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)  # (channels,)
    # Written as one multiplication and one subtraction per pixel, in the dtype asked for.
    normalised = images * (1 / (255 * std)).astype(dtype)  # (B, height, width, channels)
    normalised -= (mean / std).astype(dtype)
    return normalised
