"""Receives a trainer's progress. Training itself never prints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer, TrainingResult


class Progress:
    """A trainer calls these methods; here they do nothing. Override the ones that you want to show.

    Call `stop()` from any of them, or from another thread, to end the run as Ctrl-C does: the trainer finishes the step
    and saves.
    """

    stop_requested = False
    wants_curves = True  # whether the run draws curves.png, each minute and at its end

    def stop(self) -> None:
        """Ask the trainer to save and stop."""
        self.stop_requested = True

    def on_start(self, trainer: "Trainer") -> None:
        """Before the first step. The trainer has `recipe`, `folder`, `engine`, `model`, `step`, `total_steps`,
        `steps_per_epoch` and `state`.
        """

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        """After every step.

        step                     steps done in the whole run, out of `trainer.total_steps`
        loss, accuracy           means over this epoch so far; accuracy from 0 to 1
        images_per_second        speed of training in this epoch
        seconds_left             expected time to the end of the run
        """

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After every epoch, with its row of metrics.jsonl."""

    def on_note(self, text: str) -> None:
        """Receives a sentence, such as the step at which a resumed run continues."""

    def on_end(self, result: "TrainingResult") -> None:
        """After the last save."""
