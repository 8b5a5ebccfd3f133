"""Training through the captured GPU step: which runs take it, and an epoch of it.

The reference loop (`Trainer._train_epoch` around `train_step`) is the truth; this one does the same steps, from the
same generators, many at a time: it draws the numbers of the next steps while the GPU works on those before, and looks
at losses only every so many steps, a few steps late, so that neither waits for the other.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.backend import Backend
from tinymixer.data import Augmentation, Dataset, epoch_order
from tinymixer.data.batches import mean_colour
from tinymixer.errors import ConfigError
from tinymixer.models import MlpMixer
from tinymixer.optim import Optimizer, Schedule
from tinymixer.training.recipe import Recipe

if TYPE_CHECKING:
    from tinymixer.engines.cuda.step_results import Totals

STEPS_AT_ONCE = 32
BATCHES_AT_ONCE = 32  # of an evaluation, before anyone asks whether to stop


def fused_obstacle(recipe: Recipe, backend: Backend) -> str | None:
    """Why this run goes through the layers, operation by operation; None when the fused GPU step takes it."""
    training = recipe.training
    for applies, reason in (
        (backend.name != "cupy", "it runs on a GPU (--backend cupy)"),
        (training.kernels == "reference", "--kernels reference asks for the generic operations"),
        (training.dtype != "float32", "it keeps weights in float32 (--dtype float32)"),
        (
            training.batch_size % training.micro_batches,
            "it takes parts of one size (--micro-batches must divide the batch)",
        ),
    ):
        if applies:
            return reason
    return None


def require_precision(recipe: Recipe, backend: Backend) -> None:
    """Raise ConfigError when the recipe asks for a precision that only the fused step has, and cannot take that."""
    precision, obstacle = recipe.training.precision, fused_obstacle(recipe, backend)
    if precision != "float32" and obstacle is not None:
        raise ConfigError(f"precision '{precision}' belongs to the fused GPU training step: {obstacle}")


class FusedTraining:
    """The captured step, fed from a recipe's epochs.

    Raises BackendError, naming a batch size that fits, when the GPU's memory is too small.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        model: MlpMixer,
        optimizer: Optimizer,
        schedule: Schedule,
        augmentation: Augmentation,
    ) -> None:
        from tinymixer.engines.cuda.captured_step import CapturedStep

        training = recipe.training
        self._training, self._schedule, self._augmentation = training, schedule, augmentation
        self._count = len(dataset.train_images)
        self._steps_per_epoch = self._count // training.batch_size
        self.step = CapturedStep(
            model,
            optimizer,
            dataset.train_images,
            dataset.train_labels,
            batch_size=training.batch_size,
            micro_batches=training.micro_batches,
            mean=dataset.mean,
            std=dataset.std,
            fill=mean_colour(dataset.mean),
            augmentation=augmentation,
            label_smoothing=training.label_smoothing,
            precision=training.precision,
            captured=training.captured,
            deterministic=training.deterministic,
            recompute=training.recompute,
        )
        self._test_images = self.step.resident(dataset.test_images)

    @property
    def description(self) -> str:
        """One line for the person who started the run."""
        how = "captured in a CUDA graph" if self.step.captured else "launched kernel by kernel"
        return f"fused training step in {self._training.precision}, {how}" + (
            f" ({self.step.note})" if self.step.note else ""
        )

    def refresh(self) -> None:
        """Weights or optimizer state were loaded from a checkpoint."""
        self.step.refresh()

    def epoch(self, epoch: int, start_step: int, stopped: Callable[[], bool]) -> Iterator["tuple[int, Totals]"]:
        """Take the steps that are left of an epoch: yields (steps, what came of them), in order, up to 32 at a time.

        Ends early, after the steps under way, when `stopped()` turns true. A piece ends wherever a checkpoint is due,
        and is then complete: nothing further has been started. Raises TrainingError for a loss or gradient that is not
        finite.
        """
        order, batch = epoch_order(self._training.seed, epoch, self._count), self._training.batch_size
        every, position, waiting = self._training.checkpoint_every_steps, start_step, None
        while position < self._steps_per_epoch and not stopped():
            first = epoch * self._steps_per_epoch + position  # steps done in the whole run
            count = min(STEPS_AT_ONCE, self._steps_per_epoch - position, self.step.room)
            until_save = every - first % every if every else count + 1
            count = min(count, until_save)
            self._stage(order, batch, epoch, position, count)
            self.step.run(count)
            position += count
            if waiting is not None:
                yield waiting[0], waiting[1]()
            waiting = count, self.step.later()
            if count == until_save:
                yield waiting[0], waiting[1]()
                waiting = None
        if waiting is not None:
            yield waiting[0], waiting[1]()

    def _stage(self, order: np.ndarray, batch: int, epoch: int, position: int, count: int) -> None:
        from tinymixer.engines.cuda.staging import draw_step

        first = epoch * self._steps_per_epoch + position
        self.step.stage(
            [
                draw_step(
                    order[(position + i) * batch : (position + i + 1) * batch],
                    self._augmentation,
                    self._schedule(first + i),
                    self._training.seed,
                    epoch,
                    position + i,
                )
                for i in range(count)
            ]
        )

    def test_logits(self, stopped: Callable[[], bool]) -> np.ndarray | None:
        """The logits of all test images, float32 (N, K); None when `stopped()` turned true on the way."""
        rows, count, at_once = [], len(self._test_images), BATCHES_AT_ONCE * self._training.batch_size
        for start in range(0, count, at_once):
            if stopped():
                return None
            rows.append(self.step.logits(self._test_images, np.arange(start, min(start + at_once, count))))
        return np.concatenate(rows)  # (N, K)
