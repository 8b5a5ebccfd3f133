"""Splits images in two, taking the same share of every class."""

import numpy as np

from tinymixer.data.randomness import generator
from tinymixer.errors import ConfigError


def balanced_split(
    labels: np.ndarray, share: float, seed: int | np.random.Generator = 0, *, keep: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Split the images into training and validation: `share` of each class, rounded, goes to validation.

    labels (N,) integers  ->  (training, validation), arrays of image numbers sorted by class; each image is in exactly
    one of them. The same seed gives the same split. At least `keep` images of each class, if it has that many, stay in
    training. Raises ConfigError for a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of images to set apart must lie in 0..1, got {share!r}")
    random = np.random.default_rng(seed)
    none = np.empty(0, np.int64)
    training, validation = [none], [none]
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))  # (images of the class,)
        held_out = min(round(share * len(members)), max(len(members) - keep, 0))
        validation.append(members[:held_out])
        training.append(members[held_out:])
    return np.concatenate(training), np.concatenate(validation)


def hold_out(labels: np.ndarray, share: float, seed: int, purpose: int) -> tuple[np.ndarray, np.ndarray]:
    """`balanced_split` as data sets use it: both parts sorted, and a class with a single image stays in training.

    purpose: 0 for validation images, 1 for test images, so that the two draws use different random numbers.
    """
    kept, held_out = balanced_split(labels, share, generator(seed, "split", purpose), keep=1)
    return np.sort(kept), np.sort(held_out)
