"""Receives a trainer's progress. Training itself never prints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer, TrainingResult


class Progress:
    """Hears about a run and does nothing with it; override what you want to show.

    `stop()`, called from any of its methods or from another thread, ends the run as Ctrl-C does: after the step,
    everything saved.
    """

    stop_requested = False

    def stop(self) -> None:
        """Ask the trainer to save and stop."""
        self.stop_requested = True

    def on_start(self, trainer: "Trainer") -> None:
        """Before the first step. The trainer has `recipe`, `folder`, `engine`, `model`, `step`, `total_steps`,
        `steps_per_epoch` and `state`.
        """

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        """After every step: the run's steps so far (of `trainer.total_steps`), the means of this epoch so far (accuracy
        from 0 to 1), and the seconds the whole run will still take.
        """

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After every epoch, with its row of metrics.jsonl."""

    def on_note(self, text: str) -> None:
        """Something worth a line, such as where a resumed run goes on."""

    def on_end(self, result: "TrainingResult") -> None:
        """After the last save."""
