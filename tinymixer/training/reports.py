"""`Reports`: passes on to a `Progress` what a trainer does, and draws the learning curves now and then."""

import time
from typing import TYPE_CHECKING

from tinymixer.training.pictures import try_to_draw_curves
from tinymixer.training.progress import Progress

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer

SECONDS_BETWEEN_PICTURES = 60.0


class Reports:
    """Reports a run's steps, sentences and curves.

    progress   receives the reports; each sentence reaches it once, however often it is said
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._said: set[str] = set()
        self._steps_here, self._pictured = 0, time.perf_counter()

    def say_once(self, sentence: str | None) -> None:
        """Pass a sentence to `progress.on_note`, unless there is none or it was passed before."""
        if sentence and sentence not in self._said:
            self._said.add(sentence)
            self.progress.on_note(sentence)

    def steps(self, trainer: "Trainer", steps: int) -> None:
        """Report that so many more steps are done."""
        state = trainer.state
        self._steps_here += steps
        seconds_per_step = trainer.clock.here / self._steps_here
        self.say_once(trainer.engine.note)
        self.progress.on_step(
            trainer.step,
            state.loss_sum / state.images,
            state.correct / state.images,
            state.images / state.train_seconds,
            (trainer.total_steps - trainer.step) * seconds_per_step,
        )

    def draw_curves_if_due(self, trainer: "Trainer") -> None:
        """Draw curves.png where the last picture is a minute old."""
        if time.perf_counter() - self._pictured > SECONDS_BETWEEN_PICTURES:
            self.draw_curves(trainer)

    def draw_curves(self, trainer: "Trainer") -> None:
        """Draw curves.png into the run's folder, on rank 0, once there is an epoch to draw and where it is wanted."""
        self._pictured = time.perf_counter()
        if self.progress.wants_curves and trainer.rows and not trainer.ranks.rank:
            try_to_draw_curves(trainer.recipe.name, trainer.rows, trainer.folder.curves, self.say_once)
