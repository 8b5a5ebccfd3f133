"""The batches of an epoch: their order and augmentation depend on (seed, epoch, step) alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinymixer.data.augmentation import Augmentation
from tinymixer.data.checks import as_array, checked_labels, checked_statistics
from tinymixer.data.dataset import normalise
from tinymixer.data.randomness import generator
from tinymixer.data.transforms.mixing import draw_mix, mix_images, mix_targets
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, DataError, ShapeError


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of one epoch's images: an int64 permutation (count,), the same for the same seed and epoch."""
    return generator(seed, "order", epoch).permutation(count).astype(np.int64, copy=False)


def steps_per_epoch(count: int, batch_size: int, drop_last: bool = True) -> int:
    """The number of batches in an epoch of `count` images. Raises ConfigError when there would be none."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ConfigError(f"batch_size must be a whole number, 1 or more, got {batch_size!r}.")
    if count < 1:
        raise ConfigError("There are no images to make batches of.")
    if drop_last and batch_size > count:
        raise ConfigError(
            f"batch_size={batch_size} is more than the {count} images there are: an epoch would have no full batch. "
            f"Set batch_size to {count} or less."
        )
    return count // batch_size if drop_last else -(-count // batch_size)


class Batches(Iterator[tuple[np.ndarray, np.ndarray]]):
    """The batches of one epoch: an iterator of (images float (B, height, width, channels), labels int64 (B,)).

    images: uint8 (N, height, width, channels). labels: integers (N,).
    mean, std: per channel, of pixels scaled to 0..1; each batch is normalised with them (`normalise`).
    augmentation: applied to every batch before it is normalised; cutout boxes are filled with the mean colour.
    start_step: begin at this step of the epoch; its batches are the same as in an epoch that began at step 0.
    shuffle: False keeps the order of the images, as for evaluation.
    drop_last: leave out the last batch when it is smaller, so that every step has the same shapes and gives each image
        the same weight. The order changes with the epoch, so each epoch leaves out other images.

    `step` is the number of the next batch, `steps` (and len()) the number of batches in the whole epoch.
    The constructor raises ConfigError, ShapeError or DataError for bad arguments.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        augmentation: Augmentation | None = None,
        *,
        mean: ArrayLike,
        std: ArrayLike,
        start_step: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        images, labels = as_array("images", images), as_array("labels", labels)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ShapeError(
                f"Batches expects uint8 images (N, height, width, channels), got {images.dtype} {images.shape}."
            )
        if labels.shape != (len(images),):
            raise ShapeError(f"Batches expects one label per image, ({len(images)},), got {labels.shape}.")
        labels = checked_labels("labels", labels, len(images))
        if labels.size and labels.min() < 0:
            raise DataError(f"labels[{np.argmin(labels)}] is {labels.min()}; classes are numbered from 0.")
        mean, std = (checked_statistics(*each, images.shape[3]) for each in (("mean", mean), ("std", std)))
        self.steps = steps_per_epoch(len(images), batch_size, drop_last)
        if not 0 <= start_step <= self.steps:
            raise ConfigError(f"start_step must lie in 0..{self.steps}, the steps of this epoch, got {start_step}.")
        if augmentation is not None:
            augmentation.check(*images.shape[1:3])
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.epoch, self.step = batch_size, seed, epoch, start_step
        self.augmentation = None if augmentation is None or augmentation.is_identity else augmentation
        self.mean, self.std, self.dtype = mean, std, dtype
        self.order = epoch_order(seed, epoch, len(images)) if shuffle else np.arange(len(images))  # (N,)

    def __len__(self) -> int:
        return self.steps

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        if self.step >= self.steps:
            raise StopIteration
        start = self.step * self.batch_size
        chosen = self.order[start : start + self.batch_size]  # (B,)
        draws = Draws(self.seed, self.epoch, self.step, np.arange(len(chosen)))
        images = make_batch(self.images, chosen, self.augmentation, draws, self.mean, self.std, self.dtype)
        self.step += 1
        return images, self.labels[chosen].astype(np.int64, copy=False)


def make_batch(
    images: np.ndarray,
    indices: np.ndarray,
    augmentation: Augmentation | None,
    draws: Draws,
    mean: ArrayLike,
    std: ArrayLike,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Augment and normalise the chosen images: uint8 (N, height, width, channels), (B,) -> float (B, ...)."""
    chosen = images[indices]  # (B, height, width, channels)
    if augmentation is None or augmentation.is_identity:
        return normalise(chosen, mean, std, dtype)
    choices = augmentation.draw(draws, indices, chosen.shape[1:])
    if choices.transforms is None:
        return normalise(augmentation.apply(chosen, choices, mean_colour(mean)), mean, std, dtype)
    batch = normalise(augmentation.apply_transforms(chosen, choices), mean, std, dtype, white=1)
    augmentation.blank(batch, choices)
    return batch


def training_batch(
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    part: slice,
    augmentation: Augmentation,
    draws: Draws,
    mean: ArrayLike,
    std: ArrayLike,
    classes: int,
    mixed: bool,
    dtype: DTypeLike = np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a batch as a training step gets it: augmented, normalised and, where `mixed`, mixed.

    indices   (B,), of the whole batch; draws are its as well
    part      which of them this process computes; their partners may be in another part

    Returns images float (n, height, width, channels), and labels int64 (n,) or, mixed, rows of probabilities (n, K).
    """
    count, positions = len(indices), np.arange(len(indices))[part]
    mix = None
    if mixed:
        alphas, (height, width) = (augmentation.mixup, augmentation.cutmix), images.shape[1:3]
        mix = draw_mix(*alphas, count, height, width, draws.seed, draws.epoch, int(draws.step))
    if mix is None:
        own = make_batch(images, indices[part], augmentation, draws.part(part), mean, std, dtype)
        return own, labels[indices[part]]
    partners = (positions + mix.shift) % count  # (n,)
    if len(positions) == count:
        own = make_batch(images, indices, augmentation, draws, mean, std, dtype)
        others = own[partners]  # (n, height, width, channels)
    else:
        both = np.concatenate([positions, partners])
        all_of_them = make_batch(images, indices[both], augmentation, draws.part(both), mean, std, dtype)
        own, others = np.split(all_of_them, 2)
    targets = mix_targets(labels[indices[positions]], labels[indices[partners]], classes, mix, dtype)
    return mix_images(own, others, mix), targets


def mean_colour(mean: ArrayLike) -> Sequence[int]:
    """The uint8 colour nearest to the mean. Normalised it is near zero, the value that cutout's authors use."""
    return np.rint(np.asarray(mean) * 255).astype(np.uint8)
