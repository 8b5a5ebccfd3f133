"""Images for `transfer`: of the first or the second half of the classes, shares of them, enlarged."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.data import Dataset
from tinymixer.data.images import image_of_array
from tinymixer.studies.data_share import share_of
from tinymixer.training.trainer import Trainer


def half(dataset: Dataset, second: bool) -> Dataset:
    """The images of the first or the second half of the classes, which are numbered from 0."""
    middle = dataset.num_classes // 2
    changed: dict[str, Any] = {"class_names": dataset.class_names[middle:] if second else dataset.class_names[:middle]}
    for part in ("train", "test"):
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        kept = (labels >= middle) == second
        changed |= {f"{part}_images": images[kept], f"{part}_labels": labels[kept] - (middle if second else 0)}
    return dataclasses.replace(dataset, **changed)


def first_half(dataset: Dataset) -> Dataset:
    return half(dataset, second=False)


def enlarged(dataset: Dataset, size: int) -> Dataset:
    """The images resized to that many pixels a side, as the package enlarges pictures (Pillow, bicubic)."""

    def larger(images: np.ndarray) -> np.ndarray:
        made = np.empty((len(images), size, size, dataset.in_channels), np.uint8)
        for place, image in enumerate(images):
            made[place] = image_of_array(image, size, dataset.in_channels)
        return made

    return dataclasses.replace(
        dataset, train_images=larger(dataset.train_images), test_images=larger(dataset.test_images)
    )


def target(
    percent: int, validation_share: float, seed: int, times: int = 1, epoch: int = 0
) -> Callable[[Dataset], Dataset]:  # fmt: skip
    """What leaves a share of the second half's training images, all of its validation images, enlarged `times`.

    epoch   number of training images in an epoch, of which those of a small share are repetitions; 0: as many as the
            half has
    """

    def change(dataset: Dataset) -> Dataset:
        found = share_of(percent, validation_share, seed, count=epoch)(half(dataset, second=True))
        return found if times == 1 else enlarged(found, times * dataset.image_size)

    return change


def different_images(trainer: Trainer | None) -> dict[str, int]:
    """The number of training images, each counted once."""
    assert trainer is not None
    images = trainer.dataset.train_images
    return {"training_images": len({hash(images[number].tobytes()) for number in trainer.train_indices})}
