"""`Dataset`: small labelled images, training and test, with the facts that a run needs to know about them."""

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinymixer.data.checks import checked_images, checked_indices, checked_labels, checked_statistics, require_classes
from tinymixer.data.description import DataDescription
from tinymixer.data.manifest import DATASETS
from tinymixer.data.split import hold_out
from tinymixer.errors import DataError

COLOURS = {1: "grey", 3: "colour"}


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory.

    train_images, test_images   uint8 (N, size, size, channels); there may be no test images
    train_labels, test_labels   whole numbers (N,), 0..K-1
    class_names                 the K names
    mean, std                   float64 (channels,), of the training pixels scaled to 0..1
    source                      where the images came from: the path of a folder or file, "" for arrays
    validation_indices          numbers of the training images that are for validation, where the data itself says so;
                                None means that `split` draws them
    notes                       sentences about images that were left out, and other things worth knowing
    test_drawn                  True when the data had no test set and a seed drew one from all of its images

    Raises DataError when these do not fit together, so a data set of your own is checked as soon as it is made.
    `from_arrays`, `from_folder` and `from_npz` compute mean and std, and draw a test set where there is none.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: list[str]
    mean: np.ndarray
    std: np.ndarray
    source: str = ""
    validation_indices: np.ndarray | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    test_drawn: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.class_names, str):
            raise DataError(f"class_names must be a list of names, got the text {self.class_names!r}.")
        names = [str(name) for name in self.class_names]
        if not names or len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise DataError(f"class_names must be different names, one per class, got {self.class_names!r}.")
        changed: dict[str, Any] = {"class_names": names}
        for part in ("train", "test"):
            images = checked_images(f"{part}_images", getattr(self, f"{part}_images"))
            labels = checked_labels(f"{part}_labels", getattr(self, f"{part}_labels"), len(images))
            require_classes(f"{part}_labels", labels, names, self.name)
            changed[f"{part}_images"], changed[f"{part}_labels"] = images, labels
        train, test = changed["train_images"], changed["test_images"]
        if not len(train):
            raise DataError(f"{self.name} has no training images.")
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"The training images of {self.name} are {train.shape[1:]}, the test images {test.shape[1:]}; both "
                "must have one shape."
            )
        for name in ("mean", "std"):
            changed[name] = checked_statistics(name, getattr(self, name), train.shape[3])
        if self.validation_indices is not None:
            changed["validation_indices"] = checked_indices(self.validation_indices, len(train))
        for name, value in changed.items():
            object.__setattr__(self, name, value)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.train_images.shape[1])

    @property
    def in_channels(self) -> int:
        return int(self.train_images.shape[3])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def colours(self) -> str:
        """ "grey", "colour", or the number of channels."""
        return COLOURS.get(self.in_channels, f"{self.in_channels} channels")

    @property
    def is_own(self) -> bool:
        """Whether these are the user's own images rather than a data set that tinymixer knows by name."""
        return self.name not in DATASETS or bool(self.source)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all images, labels and class names, and `validation_indices` where there are any."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        if self.validation_indices is not None:
            digest.update(self.validation_indices.tobytes())
        return digest.hexdigest()

    @cached_property
    def description(self) -> DataDescription:
        """The facts about this data set that a run stores in config.toml and its checkpoints."""
        return DataDescription(
            name=self.name,
            source=self.source,
            class_names=tuple(self.class_names),
            mean=tuple(float(value) for value in self.mean),
            std=tuple(float(value) for value in self.std),
            image_size=self.image_size,
            in_channels=self.in_channels,
            fingerprint=self.fingerprint,
            train_images=len(self.train_images),
            test_images=len(self.test_images),
        )

    def split(self, validation_share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Split the training images: (numbers to train on, numbers for validation), two sorted int64 arrays.

        Where the data has validation images of its own, those are used. Otherwise the seed draws `validation_share` of
        each class, rounded; a class with a single image stays in training. With a share of 0 there is no validation.
        """
        if self.validation_indices is not None and validation_share:
            validation = self.validation_indices
        else:
            _, validation = hold_out(self.train_labels, validation_share, seed, purpose=0)
        training = np.setdiff1d(np.arange(len(self.train_images)), validation)
        return training, validation

    @classmethod
    def from_arrays(
        cls,
        images: ArrayLike,
        labels: ArrayLike,
        test_images: ArrayLike | None = None,
        test_labels: ArrayLike | None = None,
        *,
        class_names: list[str] | None = None,
        name: str = "arrays",
        source: str = "",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> "Dataset":
        """Make a data set from your own arrays; mean and std are computed from the training images.

        images, test_images   uint8 (N, size, size) grey, or (N, size, size, channels)
        labels, test_labels   whole numbers (N,)
        class_names           None names the classes "0", "1", ... up to the largest label
        test_share            without test images, the seed draws this share of each class as the test set

        Raises DataError for arrays that do not fit together.
        """
        from tinymixer.data.arrays import dataset_from_arrays

        return dataset_from_arrays(
            images, labels, test_images, test_labels, class_names, name, source, test_share, seed
        )

    @classmethod
    def from_npz(cls, path: str | os.PathLike[str], *, test_share: float = 0.2, seed: int = 0) -> "Dataset":
        """Make a data set from your own .npz file: see `arrays.dataset_from_npz`."""
        from tinymixer.data.arrays import dataset_from_npz

        return dataset_from_npz(path, test_share, seed)

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        image_size: int = 64,
        *,
        colours: str = "auto",
        fit: str = "crop",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> "Dataset":
        """Make a data set from your own pictures, one folder per class: see `folders.dataset_from_folder`."""
        from tinymixer.data.folders import dataset_from_folder

        return dataset_from_folder(path, image_size, colours, fit, test_share, seed)


def normalise(
    images: np.ndarray, mean: ArrayLike, std: ArrayLike, dtype: DTypeLike = np.float32, white: float = 255
) -> np.ndarray:
    """uint8 images (B, height, width, channels) -> (images / 255 - mean) / std, float of the same shape.

    white: what stands for white, 255 in uint8 images. mean, std: one number per channel, of pixels scaled to 0..1.
    Raises DataError for impossible ones (a std of 0, say).
    """
    mean, std = (checked_statistics(*each, images.shape[-1]) for each in (("mean", mean), ("std", std)))  # (channels,)
    # Written as one multiplication and one subtraction per pixel, in the dtype asked for.
    normalised = images * (1 / (white * std)).astype(dtype)  # (B, height, width, channels)
    normalised -= (mean / std).astype(dtype)
    return normalised
