"""Begins a sweep, or goes on with one, and runs its trials."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinymixer.borders import shown_path
from tinymixer.data import Dataset
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.sweeps.fields import SweptField
from tinymixer.sweeps.journal import Claim, Journal, load_optuna, locked
from tinymixer.sweeps.plan import SweepPlan
from tinymixer.sweeps.results import TrialRow, rows_of, trial_folder, write_results
from tinymixer.sweeps.trial import FAILED, FINISHED, INTERRUPTED, PRUNED, TrialResult, run_trial
from tinymixer.training.recipe import Recipe
from tinymixer.training.run_folder import FREE_ON_RESUME, RunFolder, first_free_folder, resolve_recipe
from tinymixer.training.stop import StopSignals

DEFAULT_ROOT = Path("sweeps")
PLAN = "sweep.toml"
# Fields that may differ from machine to machine. A resumed run has its weights, but a trial that begins loads them.
FREE = tuple(name for name in FREE_ON_RESUME if name != "fine_tuning.init_from")


class SweepProgress:
    """A sweep calls these methods; here they do nothing. Override the ones that you want to show."""

    def on_trial(self, row: TrialRow) -> None:
        """When this process begins a trial, and when a trial of this sweep has ended."""

    def on_step(self, number: int, step: int, steps: int) -> None:
        """After every step of a trial in this process: the trial, steps done, and their number."""

    def on_note(self, text: str) -> None:
        """Receives a sentence, such as that no picture can be drawn."""


@dataclasses.dataclass
class Sweep:
    """A sweep in its folder.

    here      fields that may differ from machine to machine (threads, backend, where the data lie), with their values
              in this process
    dataset   the images, without test images; None where trials have images of their own
    """

    folder: Path
    plan: SweepPlan
    here: Mapping[str, Any]
    dataset: Dataset | None
    progress: SweepProgress

    def __post_init__(self) -> None:
        self._said: set[str] = set()

    def say(self, sentence: str) -> None:
        """Pass a sentence to the progress, once."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.progress.on_note(sentence)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Journal]:
        """The journal of its trials."""
        with Journal(self.folder, self.plan, self.say) as journal:
            yield journal

    def run(self, stopped: Callable[[], bool] = lambda: False) -> int | None:
        """Run trials until none is left to begin; returns the signal that ended it before, or None.

        Other processes may work on the same folder. An interrupted trial is saved, and goes on in the process that
        takes it up. `stopped` is asked after every step.

        Raises CheckpointError, DataError or TrainingError where no trial could go on; the present one then stays open.
        """
        with self.opened() as journal, StopSignals() as signals:
            while not signals.requested() and not stopped():
                claim = journal.claim()
                if claim is None:
                    return None
                try:
                    result = self._run_claimed(journal, claim, stopped)
                finally:
                    with journal.locked():
                        claim.release()
                        self._write(journal)
                if result.state != INTERRUPTED:
                    self.progress.on_trial(rows_of(journal)[claim.number])
                if result.signal is not None:
                    return result.signal
                if result.state == INTERRUPTED:
                    return None
        return signals.signal

    def rows(self) -> list[TrialRow]:
        """A row for each trial, as it stands now."""
        with self.opened() as journal:
            return rows_of(journal)

    def write_results(self) -> None:
        """Write the table, the results and the picture again."""
        with self.opened() as journal, journal.locked():
            self._write(journal)

    def _write(self, journal: Journal) -> None:
        write_results(self.folder, self.plan, rows_of(journal), self.say)

    def _run_claimed(self, journal: Journal, claim: Claim, stopped: Callable[[], bool]) -> TrialResult:
        number = claim.number
        self.progress.on_trial(rows_of(journal)[number])
        result = run_trial(
            claim.trial, self.plan, self.folder / trial_folder(number), self.dataset, self.here, stopped,
            lambda step, steps: self.progress.on_step(number, step, steps),
        )  # fmt: skip
        if result.state != INTERRUPTED:
            for name in ("epochs", "seconds", "message", "notes"):
                claim.trial.set_user_attr(name, getattr(result, name))
            states = journal.optuna.trial.TrialState
            state = {FINISHED: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}[result.state]
            journal.study.tell(claim.trial, result.accuracy if result.state == FINISHED else None, state)
        return result


def begin_sweep(
    recipe: str | Path | None,
    overrides: Mapping[str, Any],
    fields: Sequence[SweptField],
    out: str | Path | None = None,
    trials: int | None = None,
    pruner: str | None = None,
    progress: SweepProgress | None = None,
) -> Sweep:
    """Begin a sweep, or open the one in `out`; everything that can be wrong is checked before a trial runs.

    recipe      a recipe's name, or the path of a TOML file; a sweep that is continued needs none
    overrides   recipe fields that differ from the recipe in all trials
    fields      what differs between trials; a sweep that is continued needs none
    out         its folder; None takes the first free of sweeps/RECIPE, sweeps/RECIPE-2, ...
    trials      how many; a search that is continued may get more
    pruner      "median" (the default), "halving" or "none"

    Raises ConfigError for what cannot be compared, and where the sweep in `out` is another one; DataError where the
    images are missing or others than those it began with.
    """
    progress = progress or SweepProgress()
    began = False
    path = None if out is None else Path(out) / PLAN
    if path is None or not path.is_file():
        resolved = resolve_recipe(recipe, overrides)
        plan = SweepPlan.make(resolved, fields, trials, pruner or "median")
        load_optuna()
        plan, dataset = plan.with_images()
        path = _new_folder(resolved, out) / PLAN
        with locked(path.parent):  # of two commands that begin it at once, the second joins the first
            if began := not path.is_file():
                plan.write(path)
    if not began:
        with locked(path.parent):
            then = SweepPlan.read(path)
            plan = _same_plan(then, path.parent, recipe, overrides, fields, trials, pruner)
            if plan != then:
                plan.write(path)
        recipe_here = plan.recipe.with_overrides(_fields_here(plan, overrides))
        found, dataset = dataclasses.replace(plan, recipe=recipe_here).with_images()
        if found.fingerprint != plan.fingerprint:
            raise TrainingError(
                f"the sweep in {shown_path(path.parent)} compares its trials on other images than these, "
                f"'{dataset.name}': give it those that it began with"
            )
    sweep = Sweep(path.parent, plan, _fields_here(plan, overrides), dataset if plan.shares_images else None, progress)
    _say_how_fine(sweep, dataset)
    return sweep


def _fields_here(plan: SweepPlan, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the overrides that hold in this process alone, and that the sweep does not vary."""
    swept = {field.name for field in plan.fields}
    here = {name: value for name, value in overrides.items() if name in FREE and value is not None}
    if here.get("data.data"):
        here["data.data"] = str(Path(here["data.data"]).absolute())
    return {name: value for name, value in here.items() if name not in swept}


def _say_how_fine(sweep: Sweep, dataset: Dataset) -> None:
    """Say how much one validation image counts, where that is much."""
    recipe = sweep.plan.recipe
    _, validation = dataset.split(recipe.data.validation_share, recipe.training.seed)
    if len(validation) < 1000:
        sweep.say(
            f"{len(validation)} validation images decide: each is {100 / len(validation):.2f} % of the accuracy, so "
            "small differences between trials mean little"
        )


def _same_plan(
    plan: SweepPlan,
    folder: Path,
    recipe: str | Path | None,
    overrides: Mapping[str, Any],
    fields: Sequence[SweptField],
    trials: int | None,
    pruner: str | None,
) -> SweepPlan:
    """The plan to go on with. Raises ConfigError, which says where the command asks for another one."""
    asked = resolve_recipe(recipe, overrides) if recipe is not None else plan.recipe.with_overrides(overrides)
    changed = {name: pair for name, pair in plan.recipe.differences(asked).items() if name not in FREE}
    others = [f"{name} ({before!r} there, {now!r} now)" for name, (before, now) in changed.items()]
    if fields and tuple(fields) != plan.fields:
        there, now = ("; ".join(map(str, each)) for each in (plan.fields, fields))
        others.append(f"the fields ({there} there, {now} now)")
    if pruner not in (None, plan.pruner):
        others.append(f"the pruner ({plan.pruner} there, {pruner} now)")
    if others:
        raise ConfigError(
            f"{shown_path(folder)} holds another sweep: {', '.join(others)}; go on with it by naming --out alone, or "
            "choose another --out"
        )
    if trials is None or trials == plan.trials:
        return plan
    if not plan.is_search or trials < plan.trials:
        raise ConfigError(
            f"the sweep in {shown_path(folder)} has {plan.trials} trials: only a search can get more, and none fewer"
        )
    return SweepPlan.make(plan.recipe, plan.fields, trials, plan.pruner).fingerprinted(plan.fingerprint)


def _new_folder(recipe: Recipe, out: str | Path | None) -> Path:
    """Make the folder of a new sweep. Raises TrainingError where that cannot be, or it holds a run."""
    try:
        if out is None:
            return first_free_folder(DEFAULT_ROOT, recipe.name)
        path = Path(out)
        if RunFolder(path).holds_a_run:
            raise TrainingError(f"{shown_path(path)} holds a training run: choose another --out for the sweep")
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"the sweep's folder {out or DEFAULT_ROOT} cannot be made: {reason}") from error
    return path
