"""One trial of a sweep: an ordinary run in a folder of its own, without test images, stopped early where it lags."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.data import Dataset
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.sweeps.plan import SweepPlan, without_test
from tinymixer.text import reason_of
from tinymixer.training.build import load_data
from tinymixer.training.history import Row, read_rows
from tinymixer.training.progress import Progress
from tinymixer.training.run_folder import RunFolder
from tinymixer.training.run_state import what_is_missing
from tinymixer.training.trainer import Trainer

if TYPE_CHECKING:
    import optuna

FINISHED, PRUNED, FAILED, INTERRUPTED = "finished", "pruned", "failed", "interrupted"


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended, or that it was interrupted.

    accuracy   on the validation images, of the weights that the run recommends; None for a failed trial
    message    why a trial failed, in a sentence
    signal     that asked the process to stop
    """

    state: str
    accuracy: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    message: str = ""
    notes: tuple[str, ...] = ()
    signal: int | None = None


class TrialProgress(Progress):
    """Reports the validation accuracy of each epoch, and stops a trial that is to be pruned.

    stopped   asked after every step: whether the whole sweep is to stop
    """

    def __init__(self, trial: "optuna.Trial", stopped: Callable[[], bool], on_step: Callable[[int, int], None]) -> None:
        self.trial, self.stopped, self._on_step = trial, stopped, on_step
        self.pruned, self.notes = False, list[str]()
        self.epochs = self.total_steps = 0
        self._obvious: set[str] = set()

    def on_start(self, trainer: Trainer) -> None:
        self.epochs, self.total_steps = trainer.length.epochs, trainer.total_steps
        self._obvious = set(what_is_missing(trainer.dataset, len(trainer.validation_indices)))
        for row in trainer.rows:  # of a resumed run, which may have ended between its row and the report
            self.report(row)

    def report(self, row: Row) -> None:
        """Tell Optuna the accuracy after an epoch, once."""
        known = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        if row["epoch"] not in known:
            self.trial.report(row["validation_accuracy"], row["epoch"])

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        self._on_step(step, self.total_steps)
        if self.stopped():
            self.stop()

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.report(row)
        if row["epoch"] < self.epochs and self.trial.should_prune():
            self.pruned = True
            self.stop()

    def on_note(self, text: str) -> None:
        if text not in self.notes and text not in self._obvious:
            self.notes.append(text)


def run_trial(
    trial: "optuna.Trial",
    plan: SweepPlan,
    folder: Path,
    dataset: Dataset | None,
    here: Mapping[str, Any],
    stopped: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> TrialResult:
    """Train a trial to its end in `folder`, going on where a run there was interrupted.

    dataset   the images; None loads the trial's own. Those for the test are taken away either way
    here      fields that may differ from machine to machine, such as training.threads, with their values here
    on_step   receives the steps done and their number

    A loss that is not finite, or values that do not fit each other, make a failed trial. Whatever would make every
    trial fail (a full disk, missing images) is raised: CheckpointError, DataError, TrainingError.
    """
    progress = TrialProgress(trial, stopped, on_step)
    run = RunFolder(folder)
    resume = run.holds_a_run
    try:
        recipe = (run.read_config() if resume else plan.recipe_of(trial.params)).with_overrides(here)
        images = without_test(dataset or load_data(recipe))
        trainer = Trainer(recipe, folder, images, progress, resume)
    except (ConfigError, MemoryError) as error:
        return TrialResult(FAILED, message=reason_of(error) if isinstance(error, MemoryError) else str(error))
    try:
        result = trainer.run()
    except TrainingError as error:
        rows, seconds = read_rows(run.metrics), trainer.seconds
        return TrialResult(FAILED, None, len(rows), seconds, str(error), tuple(progress.notes))
    signal = trainer.stop.signal  # also one that came in the last step
    rows = read_rows(run.metrics)
    for row in rows:  # nothing, unless the run had been finished before
        progress.report(row)
    if result.status == "interrupted" and not progress.pruned:
        return TrialResult(INTERRUPTED, signal=signal)
    state = trainer.state
    accuracy = state.best_accuracy if state.recommended == "best" else rows[-1]["validation_accuracy"]
    ended = PRUNED if result.status == "interrupted" else FINISHED
    return TrialResult(ended, accuracy, state.epoch, state.elapsed_seconds, notes=tuple(progress.notes), signal=signal)
