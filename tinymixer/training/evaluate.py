"""How well a model does on images it is not learning from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.data import normalise
from tinymixer.errors import DataError
from tinymixer.models import MlpMixer
from tinymixer.training.computation import Computation, make_computation


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of N images whose labels are known.

    loss            mean cross-entropy, without label smoothing
    accuracy        share of images classified correctly, 0 to 1
    predictions     (N,) int64, the most probable class of each image
    probabilities   (N, K) float64, rows that sum to 1
    """

    loss: float
    accuracy: float
    predictions: np.ndarray
    probabilities: np.ndarray


@np.errstate(over="ignore", invalid="ignore")  # a model that has blown up shows in the loss
def predict_log_probabilities(
    model: MlpMixer | Computation,
    images: np.ndarray,
    mean: Any,
    std: Any,
    batch_size: int = 128,
    stopped: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Logarithm of the softmax of the model's logits: images (N, height, width, channels) uint8 -> (N, K) float64.

    mean and std are the data set's, per channel. Works in batches, so that activations take no more memory for more
    images. When `stopped()` turns true between two batches, only the rows so far come back.
    """
    computation = make_computation(model) if isinstance(model, MlpMixer) else model
    model = computation.model
    backend, dtype = model.backend, model.parameters.dtype
    rows = [np.empty((0, model.config.num_classes))]
    for start in range(0, len(images), batch_size):
        if stopped is not None and stopped():
            break
        batch = normalise(images[start : start + batch_size], mean, std, dtype)  # (B, height, width, channels)
        logits = computation.logits(backend.asarray(batch))  # (B, K)
        rows.append(_log_softmax(backend.to_numpy(logits).astype(np.float64)))
    return np.concatenate(rows)  # (N, K)


def evaluate(
    model: MlpMixer | Computation,
    images: np.ndarray,
    labels: np.ndarray,
    mean: Any,
    std: Any,
    batch_size: int = 128,
    stopped: Callable[[], bool] | None = None,
) -> Evaluation | None:
    """Evaluate the model on images (N, height, width, channels) uint8 with labels (N,) integers.

    Returns None when `stopped()` turned true on the way. Raises DataError where there is nothing to evaluate.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise DataError(f"evaluation needs images, and a label for each: got {len(images)} and {len(labels)}")
    log_probabilities = predict_log_probabilities(model, images, mean, std, batch_size, stopped)  # (N, K)
    if len(log_probabilities) < len(images):
        return None
    return _evaluation(log_probabilities, labels)


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Evaluate logits (N, K) that were worked out elsewhere, against labels (N,) integers."""
    return _evaluation(_log_softmax(logits.astype(np.float64)), labels)


def _evaluation(log_probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
    predictions = np.argmax(log_probabilities, axis=1)  # (N,)
    loss = -float(np.mean(log_probabilities[np.arange(len(labels)), labels]))
    return Evaluation(loss, float(np.mean(predictions == labels)), predictions, np.exp(log_probabilities))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - np.max(logits, axis=1, keepdims=True)  # (B, K)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
