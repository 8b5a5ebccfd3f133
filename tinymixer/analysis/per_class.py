"""Confusion matrix and per-class results (recall, precision, F1), computed from predictions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinymixer.errors import ShapeError


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count how often each true class got each prediction: (N,), (N,) integers -> (K, K) int64.

    Rows are the true classes, columns the predicted ones, so the diagonal counts the right predictions. Raises
    ShapeError for vectors of different lengths and for classes outside 0 to K-1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ShapeError(
            f"expected labels and predictions of one shape (N,), got {labels.shape} and {predictions.shape}"
        )
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ShapeError(f"expected {name} from 0 to {classes - 1}, got {values.min()} to {values.max()}")
    cells = (labels * classes + predictions).astype(np.intp)  # bincount takes no wider numbers
    counts = np.bincount(cells, minlength=classes * classes)  # (K*K,)
    return counts.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class ClassResult:
    """The results of one class.

    recall        correct / images of this class
    precision     correct / predictions of this class
    f1            their harmonic mean
    mistaken_for  the wrong class that was predicted most often for its images; "" when all were right
    mistakes      how often that class was predicted for them

    A rate is None where its divisor is 0: for a class without images, or one that is never predicted.
    """

    name: str
    images: int
    correct: int
    recall: float | None
    precision: float | None
    f1: float | None
    mistaken_for: str
    mistakes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def class_results(confusion: np.ndarray, class_names: Sequence[str]) -> list[ClassResult]:
    """A ClassResult for each row of a confusion matrix (K, K), in the order of the classes."""
    images, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)  # (K,) each
    missed = confusion - np.diag(correct)  # (K, K)
    results = []
    for k, name in enumerate(class_names):
        worst = int(np.argmax(missed[k]))
        mistakes = int(missed[k, worst])
        results.append(
            ClassResult(
                name=name,
                images=int(images[k]),
                correct=int(correct[k]),
                recall=_ratio(correct[k], images[k]),
                precision=_ratio(correct[k], predicted[k]),
                f1=_ratio(2 * correct[k], images[k] + predicted[k]),
                mistaken_for=class_names[worst] if mistakes else "",
                mistakes=mistakes,
            )
        )
    return results


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
