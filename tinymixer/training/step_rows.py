"""`StepRows`: writes a row into metrics.jsonl every few steps, where the recipe asks for it."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tinymixer.engines import Totals
from tinymixer.errors import TrainingError
from tinymixer.files import Say, sync_file
from tinymixer.text import reason_of
from tinymixer.training.history import LARGEST_WITH_STEPS, Row, append_row

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer


class StepRows:
    """The rows of steps of a run.

    every   steps between two rows; 0 writes none
    path    of metrics.jsonl
    say     receives a sentence where rows can no longer be written: training goes on without them

    An engine that reports many steps at a time gets a row at the first report at or after each multiple of `every`.
    """

    def __init__(self, every: int, path: Path, say: Say) -> None:
        self.every, self._path, self._say = every, path, say
        self._unsynced = False

    def steps(self, trainer: "Trainer", steps: int, totals: Totals, seconds: float) -> None:
        """Count steps that were just done, in so many seconds, and write their row where one is due, on rank 0."""
        if not self.every:
            return
        state, step = trainer.state, trainer.step
        state.row_loss_sum += totals.loss_sum
        state.row_correct += totals.correct
        state.row_images += totals.images
        state.row_seconds += seconds
        if step // self.every == (step - steps) // self.every:
            return
        row: Row = {
            "step": step,
            "epoch": round(step / trainer.steps_per_epoch, 6),
            "loss": state.row_loss_sum / state.row_images,
            "accuracy": state.row_correct / state.row_images,
            "learning_rate": trainer.schedule(step - 1),
            "images_per_second": state.row_images / max(state.row_seconds, 1e-9),
        }
        if totals.gradient_norm is not None and math.isfinite(totals.gradient_norm):  # float16 skips a step at infinity
            row["gradient_norm"] = totals.gradient_norm
        state.row_loss_sum, state.row_correct, state.row_images, state.row_seconds = 0.0, 0, 0, 0.0
        if not trainer.ranks.rank:
            self._write(row)

    def _write(self, row: Row) -> None:
        """Append a row, without waiting for the disk."""
        try:
            if self._path.exists() and self._path.stat().st_size > LARGEST_WITH_STEPS:
                raise TrainingError(f"{self._path} has more than {LARGEST_WITH_STEPS // 10**6} MB")
            append_row(self._path, row, self._say, sync=False)
            self._unsynced = True
        except (OSError, TrainingError) as error:
            self.every = 0
            self._say(f"no more rows of steps are written: {reason_of(error)}")

    def sync(self) -> None:
        """Wait until the rows so far are on the disk: before a checkpoint, after which they are not written again."""
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            descriptor = os.open(self._path, os.O_RDWR)
            try:
                sync_file(descriptor, self._path.parent, self._say)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._say(f"the rows of steps in {self._path} may not be on the disk: {reason_of(error)}")
