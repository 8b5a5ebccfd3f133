"""Evaluates a model: its loss, accuracy and predictions on images with known labels."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.data.checks import as_array, checked_images, checked_statistics
from tinymixer.data.views import View, average_logits, views_of
from tinymixer.engines import Engine, choose_engine
from tinymixer.errors import DataError
from tinymixer.models import Model
from tinymixer.parallel.ranks import ONE_RANK, Ranks


@dataclass(frozen=True)
class Evaluation:
    """A model's results on N images with known labels.

    loss            mean cross-entropy, without label smoothing
    accuracy        share of images classified correctly, 0 to 1
    predictions     (N,) int64, the most probable class of each image
    probabilities   (N, K) float64, rows that sum to 1
    with_tta        the same with test-time augmentation, where that was asked for; all else is without
    """

    loss: float
    accuracy: float
    predictions: np.ndarray
    probabilities: np.ndarray
    with_tta: "Evaluation | None" = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy: see `accuracy_interval`."""
        return accuracy_interval(round(self.accuracy * len(self.predictions)), len(self.predictions))


def accuracy_interval(correct: int, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy, (low, high) from 0 to 1 (Wilson 1927).

        centre = (p + z^2 / 2n) / (1 + z^2 / n)        half = z / (1 + z^2 / n) * sqrt(p (1 - p) / n + z^2 / 4n^2)

    with p = correct / n and z = 1.96. Unlike p +- z sqrt(p (1 - p) / n), it is valid for few images and for p near 0
    or 1.
    """
    z, share = 1.959963984540054, correct / images
    scale = 1 + z * z / images
    centre = (share + z * z / (2 * images)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(0.0, centre - half), min(1.0, centre + half)


def predict_log_probabilities(
    model: Model | Engine,
    images: np.ndarray,
    mean: Any,
    std: Any,
    batch_size: int = 128,
    stopped: Callable[[], bool] = lambda: False,
    indices: np.ndarray | None = None,
    ranks: Ranks = ONE_RANK,
    tta: str = "none",
) -> np.ndarray | None:
    """Logarithm of the softmax of the model's logits: images (N, height, width, channels) uint8 -> (N, K) float64.

    mean and std are the training set's, per channel; indices choose some of the images. Works in batches, so the memory
    for activations does not grow with N. Returns None when `stopped()` became true between two batches.

    Several ranks share the images out, and each gets all results; None where one of them was stopped.

    tta   test-time augmentation: "none", "mirror", "shift" or "all", see `data.views`; ConfigError for any other
    """
    logits = _logits(model, images, mean, std, batch_size, stopped, indices, ranks, tta)
    return None if logits is None else _log_softmax(logits[1])


def _logits(
    model: Model | Engine,
    images: np.ndarray,
    mean: Any,
    std: Any,
    batch_size: int,
    stopped: Callable[[], bool],
    indices: np.ndarray | None,
    ranks: Ranks,
    tta: str,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits of the images as they are, and averaged over the views: see `average_logits`; of all ranks together."""
    for view in views_of(tta):
        view.check(*images.shape[1:3])  # before the first is computed
    engine = model if isinstance(model, Engine) else choose_engine(model)
    noted = engine.note
    chosen = np.arange(len(images)) if indices is None else indices
    own = chosen[ranks.part(len(chosen))]
    alone = ranks.size == 1  # then an engine may take all images as they are, without a list of them

    def logits_of(view: View) -> np.ndarray | None:
        logits: np.ndarray | None = own  # of no image, where there are fewer images than ranks
        if len(own):
            logits = engine.pixel_logits(images, mean, std, indices if alone else own, batch_size, stopped, view)
        parts = ranks.gather(logits)
        if any(part is None for part in parts):
            ranks.agree_to_stop()
            return None
        return np.concatenate([part for part in parts if part is not None and len(part)])  # (N, K)

    logits = average_logits(tta, logits_of)
    if engine.note != noted and engine is not model:
        warnings.warn(str(engine.note), stacklevel=2)
    return logits


def evaluate(
    model: Model | Engine,
    images: np.ndarray,
    labels: np.ndarray,
    mean: Any,
    std: Any,
    batch_size: int = 128,
    stopped: Callable[[], bool] = lambda: False,
    indices: np.ndarray | None = None,
    ranks: Ranks = ONE_RANK,
    tta: str = "none",
) -> Evaluation | None:
    """Evaluate the model on images (N, height, width, channels) uint8 with labels (N,) integers.

    indices   numbers of the images to evaluate; None for all
    ranks     share out the images; all of them get the result
    tta       test-time augmentation ("mirror", "shift", "all"): its results come apart, in `Evaluation.with_tta`

    Returns None when `stopped()` became true on the way. Raises DataError where there are no images, and unless each
    image has one label that is the number of a class; ConfigError for an unknown tta.
    """
    images, labels = as_array("images", images), as_array("labels", labels)
    require_labels(images, labels)
    chosen = labels if indices is None else labels[indices]
    if len(chosen) == 0:
        raise DataError("evaluation needs images, and a label for each: got no image")
    images = checked_images("images", images)
    mean, std = (checked_statistics(*each, images.shape[3]) for each in (("mean", mean), ("std", std)))
    logits = _logits(model, images, mean, std, batch_size, stopped, indices, ranks, tta)
    if logits is None:
        return None
    plain, averaged = logits  # (N, K) each
    classes = plain.shape[1]
    if not 0 <= chosen.min() <= chosen.max() < classes:
        outside = chosen.max() if chosen.max() >= classes else chosen.min()
        raise DataError(f"the model tells {classes} classes apart, 0 to {classes - 1}, but there is a label {outside}")
    found = _measured(plain, chosen)
    return found if tta == "none" else dataclasses.replace(found, with_tta=_measured(averaged, chosen))


def _measured(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    log_probabilities = _log_softmax(logits)  # (N, K)
    predictions = np.argmax(log_probabilities, axis=1)  # (N,)
    loss = -float(np.mean(log_probabilities[np.arange(len(labels)), labels]))
    return Evaluation(loss, float(np.mean(predictions == labels)), predictions, np.exp(log_probabilities))


def require_labels(images: np.ndarray, labels: np.ndarray) -> None:
    """Raise DataError unless there is one whole number for each image."""
    if not images.ndim:
        raise DataError("evaluation needs images (N, height, width, channels), got a number")
    if len(images) == 0 or labels.shape[:1] != (len(images),):
        given = len(labels) if labels.ndim else 1
        raise DataError(f"evaluation needs images, and a label for each: got {len(images)} and {given}")
    if labels.ndim != 1:
        raise DataError(
            f"labels should be of shape ({len(images)},), one class number per image, got {labels.shape}: "
            "take the one column, labels[:, 0], or of rows with a number per class np.argmax(labels, axis=1)"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels should be whole numbers, the numbers of the classes, got {labels.dtype}")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - np.max(logits, axis=1, keepdims=True)  # (B, K)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
