"""Choosing without the test set: images held out of the training set, and the epoch to stop at."""

from collections.abc import Sequence

import numpy as np

from tinymixer.errors import ConfigError


def balanced_split(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Part the images into training and validation: `share` of each class, rounded, goes to validation.

    labels (N,) integers  ->  training and validation, arrays of image numbers, sorted by class; every image is in one
    of them. The same seed gives the same split. Raises ConfigError for a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of validation images must lie in 0..1, got {share!r}")
    generator = np.random.default_rng(seed)
    none = np.empty(0, np.int64)
    training, validation = [none], [none]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))  # (images of the class,)
        held_out = round(share * len(members))
        validation.append(members[:held_out])
        training.append(members[held_out:])
    return np.concatenate(training), np.concatenate(validation)


def early_stop(losses: Sequence[float], patience: int) -> tuple[int, int]:
    """Early stopping on the validation losses of epochs 0, 1, ...: (the best epoch, the last epoch trained).

    Training stops after `patience` epochs in a row without a loss below the lowest so far; what comes later is never
    seen. Raises ConfigError without a loss, or for a patience below 1.
    """
    if len(losses) == 0 or patience < 1:
        raise ConfigError(f"early stopping needs a loss and a patience of 1 or more, got {len(losses)} and {patience}")
    best = 0
    for epoch in range(1, len(losses)):
        if losses[epoch] < losses[best]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(losses) - 1
