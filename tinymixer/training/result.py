"""`TrainingResult`, which `Trainer.run` returns."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinymixer.text import counted
from tinymixer.training.recipe import recipe_names

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `Trainer.run` ended.

    status                "finished", "interrupted" (by `signal`), or "already finished" when there was nothing to do
    message               one or two sentences for the user: the result, or how to go on
    epochs                epochs finished
    validation_accuracy   of the best epoch (0 to 1); None without validation images or a finished epoch
    test_accuracy         of the recommended checkpoint (0 to 1), measured once at the end; None before the end
    test_interval         95 % confidence interval of the test accuracy, (low, high)
    tested                the checkpoint that was tested, "best" or "last"
    seconds               training time of the run, including the time before it was resumed
    trained               the length of the run so far, in words: "30 epochs", or "137 steps" where it is given in steps
    """

    status: str
    message: str
    folder: Path
    epochs: int
    validation_accuracy: float | None
    test_accuracy: float | None
    test_interval: tuple[float, float] | None
    tested: str | None
    seconds: float
    signal: int | None = None
    trained: str = ""


def make_result(trainer: "Trainer", status: str, signals: Sequence[int | None] = (None,)) -> TrainingResult:
    """Make the result from the trainer's present state; `signals` are those that the ranks were stopped by."""
    state, folder = trainer.state, trainer.folder.path
    row = trainer.rows[-1] if trainer.rows else {}
    test, interval = row.get("test_accuracy"), row.get("test_interval")
    best = state.best_accuracy if state.best_epoch else None
    trained = counted(trainer.step, "step") if trainer.recipe.training.steps else counted(state.epoch, "epoch")
    if status == "interrupted":
        reached = "" if best is None else f", best validation accuracy {100 * best:.2f} %"
        together = f"launch -n {trainer.ranks.size} " if trainer.ranks.size > 1 else ""
        named = f" {trainer.recipe.name}" if trainer.recipe.name in recipe_names() else ""
        message = (
            f"stopped {_where(trainer)}{reached}; everything is saved. "
            f"Go on with: tinymixer {together}train{named} --out {shlex.quote(str(folder))} --resume"
            f"{' (on any number of ranks)' if together else ''}"
        )
    else:
        reached = "" if test is None or interval is None else f", {say_test(row)}"
        message = f"{status}: {trained} in {state.elapsed_seconds:.0f} s{reached}, saved in {folder}"
    return TrainingResult(
        status,
        message,
        folder,
        state.epoch,
        best,
        test,
        None if interval is None else (interval[0], interval[1]),
        row.get("tested"),
        state.elapsed_seconds,
        next((number for number in signals if number is not None), None) if status == "interrupted" else None,
        trained,
    )


def _where(trainer: "Trainer") -> str:
    training = trainer.recipe.training
    if training.seconds and not training.steps:
        return "while measuring how many steps fit"
    return f"after step {trainer.step} of {trainer.total_steps}"


def say_test(row: dict) -> str:
    """The test figures in a run's last row as text: the accuracy, its interval, and which weights were tested."""
    low, high = row["test_interval"]
    weights = "weights of the best epoch on the validation images" if row["tested"] == "best" else "last weights"
    if row.get("averaged") is True:
        weights = "averaged " + weights if row["tested"] == "best" else "averaged weights of the last epoch"
    accuracy, low, high = (100 * share for share in (row["test_accuracy"], low, high))
    return f"test accuracy {accuracy:.2f} % (95 % interval {low:.1f} to {high:.1f} %; {weights})"
