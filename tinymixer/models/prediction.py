"""What a model says about one picture."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False)
class Prediction:
    """A model's prediction for one picture.

    class_names     the K names
    probabilities   float64 (K,), in the order of the names
    tta             the test-time augmentation that it was made with ("mirror", "shift", "all"); "none" for none
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray
    tta: str = "none"

    @property
    def label(self) -> int:
        """The number of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def class_name(self) -> str:
        """The name of the most probable class."""
        return self.class_names[self.label]

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities[self.label])

    def best_labels(self, count: int = 5) -> list[int]:
        """The numbers of the most probable classes, in falling order of probability."""
        return [int(k) for k in self.probabilities.argsort(kind="stable")[::-1][:count]]

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes and their probabilities, in falling order."""
        return [(self.class_names[k], float(self.probabilities[k])) for k in self.best_labels(count)]

    def __repr__(self) -> str:
        made = "" if self.tta == "none" else f"; test-time augmentation: {self.tta}"
        return "Prediction(" + ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.best(3)) + made + ")"
