"""The test at the end of a run: the recommended weights meet the test images, once."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tinymixer.training.checkpoint import load_checkpoint
from tinymixer.training.history import is_tested, write_rows
from tinymixer.training.other_weights import averaged_weights, other_weights

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer


def nothing_to_test(trainer: "Trainer") -> bool:
    """Whether the run is tested already, or there is nothing to test it with."""
    return not len(trainer.dataset.test_images) or not trainer.rows or is_tested(trainer.rows[-1])


def final_test(trainer: "Trainer") -> bool:
    """Evaluate the recommended checkpoint on the test images and write the figures into the last row of metrics.jsonl.

    The model has its last weights again afterwards. Returns False when a stop was requested on the way. Raises
    CheckpointError where the best checkpoint cannot be read, and TrainingError where the figures cannot be written.
    """
    if nothing_to_test(trainer):
        return True
    which = trainer.state.recommended
    with _recommended_weights(trainer, which):
        evaluation = trainer.evaluate("test")
    if evaluation is None:
        return False
    trainer.rows[-1] |= {
        "test_loss": evaluation.loss,
        "test_accuracy": evaluation.accuracy,
        "test_interval": list(evaluation.interval),
        "test_images": len(trainer.dataset.test_images),
        "tested": which,
    }
    trainer.ranks.first(lambda: write_rows(trainer.folder.metrics, trainer.rows, trainer.reports.say_once))
    return True


def _recommended_weights(trainer: "Trainer", which: str) -> AbstractContextManager[None]:
    """Gives the model the weights to test: the best epoch's or the last, averaged where the run averages."""
    if which == "last":
        return averaged_weights(trainer)
    best = trainer.ranks.first(lambda: load_checkpoint(trainer.folder.best))
    return other_weights(trainer, *best.weights())
