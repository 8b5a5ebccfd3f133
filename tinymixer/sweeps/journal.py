"""A sweep's trials as Optuna keeps them: a file that is only ever appended to, so that it survives a crash.

Each trial belongs to one process at a time: the one that holds the lock on the trial's folder below `claims/`. The
operating system releases the lock when that process ends, so a trial of a killed process can be taken up by another.
Optuna: Akiba et al. 2019, arXiv 1907.10902.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tinymixer.borders import guarded, shown_path
from tinymixer.errors import ConfigError, TrainingError, install_line
from tinymixer.files import Say
from tinymixer.sweeps.fields import SweptField
from tinymixer.sweeps.plan import SweepPlan
from tinymixer.training.folder_lock import FolderLock
from tinymixer.training.recipe_fields import recipe_fields

if TYPE_CHECKING:
    import optuna

NAME = "sweep"  # of the one study in the journal
STARTUP_TRIALS = 4  # finished trials before the median stops any
REDUCTION = 3  # successive halving keeps one trial in three


def load_optuna() -> Any:
    """The package Optuna. Raises ConfigError, with the line that installs it, where it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"a sweep needs the package optuna, not installed here: {install_line('sweep')}") from error
    return optuna


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes, on any machine, out of such a block for the same sweep; for moments only.

    A lock that a killed process left is broken after half a minute.
    """
    from optuna.storages.journal import JournalFileOpenLock

    section = JournalFileOpenLock(str(folder / "sweep"))  # the file sweep.lock
    section.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # another process broke it
            section.release()


class Claim:
    """A trial that this process works on, and nobody else.

    trial   Optuna's trial: takes reports, says whether to stop, and has `number` and `params`
    """

    def __init__(self, trial: "optuna.Trial", folder: Path, lock: FolderLock) -> None:
        self.trial, self.folder, self.lock = trial, folder, lock

    @property
    def number(self) -> int:
        return int(self.trial.number)

    def release(self) -> None:
        """Let others take the trial; call this under the journal's `locked()`."""
        self.lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


class Journal:
    """The trials of a sweep. Use it in a `with` block, in which Optuna logs nothing below a warning.

    Raises TrainingError where the journal cannot be read.
    """

    def __init__(self, folder: Path, plan: SweepPlan, say: Say) -> None:
        self.folder, self.plan, self.say = folder, plan, say
        self.optuna = load_optuna()
        self._path = folder / "journal.log"
        self._verbosity = self.optuna.logging.get_verbosity()

    def __enter__(self) -> Self:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        lock = JournalFileOpenLock(str(self._path))
        with guarded(TrainingError, f"{shown_path(self._path)} cannot be read"), self.locked():
            _mend(self._path, lock)
            storage = JournalStorage(JournalFileBackend(str(self._path), lock_obj=lock))
            self.study = self.optuna.create_study(
                storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, pruner=self._pruner()
            )
            self.enqueue_missing()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.optuna.logging.set_verbosity(self._verbosity)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from changing who has which trial, as `locked` does."""
        return locked(self.folder)

    def enqueue_missing(self) -> None:
        """Queue the planned trials that are not in the journal yet; under `locked()`."""
        queued = len(self.trials())
        if self.plan.is_search:
            points: Sequence[dict[str, Any]] = [{}] * self.plan.trials  # their values are chosen when they begin
        else:
            points = list(self.plan.points())
        for point in points[queued:]:
            self.study.enqueue_trial(point)

    def trials(self) -> "list[optuna.trial.FrozenTrial]":
        """All trials, in the order of their numbers, as they stand now."""
        return self.study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """Take a trial: one that its process left behind, else the next one; None where there is none to take."""
        with self.locked():
            running = self.optuna.trial.TrialState.RUNNING
            waiting = self.optuna.trial.TrialState.WAITING
            for trial in self.trials():
                if trial.state == running and (lock := self._lock(trial.number)) is not None:
                    return self._claim(self.optuna.Trial(self.study, trial._trial_id), lock)
            first = next((trial for trial in self.trials() if trial.state == waiting), None)
            lock = None if first is None else self._lock(first.number, begun=False)
            return None if lock is None else self._claim(self.study.ask(), lock)  # `ask` takes the first that waits

    def _claim(self, trial: "optuna.Trial", lock: FolderLock) -> Claim:
        # Each trial has a sampler of its own seed: processes that draw at once do not draw the same, and a sweep in
        # one process can be repeated.
        seed = (1_000_003 * self.plan.recipe.training.seed + trial.number) % 2**32
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
        for field in self.plan.fields:
            self._suggest(trial, field)
        return Claim(trial, self._claims(trial.number), lock)

    def _suggest(self, trial: "optuna.Trial", field: SweptField) -> None:
        if not field.is_range:
            trial.suggest_categorical(field.name, field.values)
        elif recipe_fields()[field.name].kind is int:
            trial.suggest_int(field.name, field.low, field.high, log=field.log)
        else:
            trial.suggest_float(field.name, field.low, field.high, log=field.log)

    def is_claimed(self, number: int) -> bool:
        """Whether a process says that it works on this trial; one that was killed says so still."""
        return self._claims(number).is_dir()

    def _claims(self, number: int) -> Path:
        return self.folder / "claims" / f"{number:03}"

    def _lock(self, number: int, begun: bool = True) -> FolderLock | None:
        """The lock on a trial, which has begun or waits; None where a process has it.

        Where the file system has no locks, the folder itself says that a process works on the trial. After a crash such
        a folder has to be deleted by hand.
        """
        folder, unlocked = self._claims(number), list[str]()
        existed = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder, unlocked.append)
        try:
            lock.acquire()
        except TrainingError:
            return None
        if unlocked and existed and begun:
            self.say(
                f"{shown_path(folder)} says that a process works on trial {number}, and no lock can tell whether that "
                "is so here: if none does, delete that folder"
            )
            return None
        return lock

    def _pruner(self) -> Any:
        pruners = self.optuna.pruners
        if self.plan.pruner == "median":  # never after the first epoch, which says little
            return pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=2)
        if self.plan.pruner == "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
        return pruners.NopPruner()


def _mend(path: Path, lock: Any) -> None:
    """Cut off a last line that a crash left half written, before another is appended to it."""
    if not path.exists():
        return
    lock.acquire()
    try:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
    finally:
        with contextlib.suppress(RuntimeError):
            lock.release()
