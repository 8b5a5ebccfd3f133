"""`RunState`: how far a run has come, and its results so far."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from tinymixer.data import Dataset
from tinymixer.errors import CheckpointError
from tinymixer.training.evaluate import Evaluation

LARGEST = 1e15  # steps, images or seconds of any run
ROW_SUMS = ("row_loss_sum", "row_correct", "row_images", "row_seconds")
FEW_IMAGES = 100  # with fewer validation images, which epoch is best is mostly luck


@dataclass
class RunState:
    """How far a run has come.

    epoch             epochs finished
    step              steps finished in the current epoch
    loss_sum, correct, images   over those steps: sum of the images' losses, images classified correctly, images seen
    train_seconds     time of those steps
    epoch_started     the value of `elapsed_seconds` when the current epoch began
    elapsed_seconds   training time of the run, including the time before it was resumed
    validation_images   the number of validation images; 0 where there are none
    best_epoch        the epoch with the lowest validation loss, 0 before any. The loss decides, not the accuracy: with
                      few images many epochs have the same accuracy
    best_accuracy, best_loss   on the validation images after that epoch
    row_loss_sum, row_correct, row_images, row_seconds   sums since the last row of steps (`StepRows`)
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    images: int = 0
    train_seconds: float = 0.0
    epoch_started: float = 0.0
    elapsed_seconds: float = 0.0
    validation_images: int = 0
    best_epoch: int = 0
    best_accuracy: float = 0.0
    best_loss: float = 0.0
    row_loss_sum: float = 0.0
    row_correct: int = 0
    row_images: int = 0
    row_seconds: float = 0.0

    def add_steps(self, steps: int, loss_sum: float, correct: int, images: int, seconds: float) -> None:
        self.step += steps
        self.loss_sum += loss_sum
        self.correct += correct
        self.images += images
        self.train_seconds += seconds

    def end_epoch(self, validation: Evaluation | None, elapsed_seconds: float) -> bool:
        """Begin the next epoch. Returns whether the finished one has the lowest validation loss so far."""
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.correct, self.images, self.train_seconds = 0.0, 0, 0, 0.0
        self.epoch_started = elapsed_seconds
        if validation is None:
            return False
        improved = not self.best_epoch or validation.loss < self.best_loss
        if improved:
            self.best_epoch, self.best_accuracy, self.best_loss = self.epoch, validation.accuracy, validation.loss
        return improved

    def epochs_without_progress(self) -> int:
        """The number of epochs since the best one."""
        return self.epoch - self.best_epoch if self.best_epoch else 0

    @property
    def recommended(self) -> str:
        """The checkpoint to use: "best" if at least `FEW_IMAGES` validation images chose it, otherwise "last"."""
        return "best" if self.best_epoch and self.validation_images >= FEW_IMAGES else "last"

    @classmethod
    def from_json(cls, text: str, path: Path, number: int) -> "RunState":
        """Read the state of a checkpoint at `path` of format `number`. Raises CheckpointError for impossible values."""
        expected = {entry.name: type(entry.default) for entry in fields(cls)}
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):  # ValueError: not JSON, or a number of over 4,300 digits
            values = None
        if number == 1 and isinstance(values, dict):  # format 1 chose the best epoch on the test images: drop it
            values.pop("best_accuracy", None)
            values |= {"validation_images": 0, "best_epoch": 0, "best_accuracy": 0.0, "best_loss": 0.0}
        if isinstance(values, dict):  # checkpoints from before there were rows of steps have no sums for them
            values = {name: getattr(cls, name) for name in ROW_SUMS} | values
        if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != expected:
            raise CheckpointError(f"{path} is damaged: its 'state' does not say where the run stands")
        if any(not 0 <= value <= LARGEST for value in values.values()):  # also false for NaN
            raise CheckpointError(f"{path} is damaged: its 'state' holds a number that cannot be")
        state = cls(**values)
        state._require_sense(path)
        return state

    def _require_sense(self, path: Path) -> None:
        """Raise CheckpointError where the numbers contradict each other."""
        for agree, what in (
            (bool(self.step) == bool(self.images), f"{self.step} steps of the epoch and {self.images} images"),
            (self.correct <= self.images, f"{self.correct} of {self.images} images classified correctly"),
            (
                self.row_correct <= self.row_images,
                f"{self.row_correct} of {self.row_images} images since a row of steps classified correctly",
            ),
            (self.best_epoch <= self.epoch, f"the best of {self.epoch} epochs to be number {self.best_epoch}"),
            (self.best_accuracy <= 1, f"an accuracy of {self.best_accuracy:g}"),
        ):
            if not agree:
                raise CheckpointError(f"{path} is damaged: its 'state' says {what}")


def what_is_missing(dataset: Dataset, validation_images: int) -> Iterator[str]:
    """Sentences about what a run on this data cannot tell, for want of images."""
    yield from dataset.notes
    if not validation_images:
        yield "no validation images: the run recommends and tests its last weights"
    elif validation_images < FEW_IMAGES:
        yield (
            f"{validation_images} validation images are too few to choose an epoch by (fewer than {FEW_IMAGES}): the "
            "last weights are recommended"
        )
    if not len(dataset.test_images):
        yield "no test images: there will be no test accuracy"
