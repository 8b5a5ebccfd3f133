"""A folder of training runs with a ledger of what is done: any command may be stopped, and a later one goes on.

`ledger.json` holds an entry for each row of a table, `table.md` the table itself, and `settings.json` what the runs
have in common. Each file is written beside and renamed.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import click
import numpy as np

from tinymixer import Trainer
from tinymixer.data import Dataset
from tinymixer.engines import Step
from tinymixer.errors import TinymixerError, TrainingError
from tinymixer.files import replacing
from tinymixer.training import Progress, Recipe
from tinymixer.training.folder_lock import FolderLock

Entries = dict[str, dict[str, Any]]
MEASURED_STEPS = 8  # in each turn
MISSING = "not set"


class Ledger:
    """The entries of a folder: a context, within which no other process can use it.

    folder     holds the ledger and the runs; it is made where there is none
    settings   what every run has in common, as JSON holds it
    table      entries  ->  the text of table.md
    say        receives a sentence where the folder cannot be locked

    Entering it raises TrainingError where the ledger was begun with other settings, is damaged, or in use.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], table: Callable[[Entries], str], say: Callable[[str], None]
    ) -> None:
        self.folder, self._settings, self._table = folder, settings, table
        self._lock = FolderLock(folder, say)
        self.entries: Entries = {}

    def __enter__(self) -> Self:
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            settings = _require_same(folder, "", _read(folder / "settings.json"), self._settings)
            self.entries = _read(folder / "ledger.json")
            self._write("settings.json", json.dumps(settings, indent=1))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def entry(self, row: str, changes: dict[str, Any]) -> dict[str, Any]:
        """The entry of a row, made where there is none.

        changes   what its runs have of their own, as JSON holds it

        Raises TrainingError where the entry was made with other changes.
        """
        entry = self.entries.setdefault(row, {})
        entry["changes"] = _require_same(self.folder, f"'{row}' in ", entry.get("changes", {}), changes)
        return entry

    def save(self) -> None:
        """Write the entries, and the table that they make."""
        self._write("ledger.json", json.dumps(self.entries, indent=1))
        self._write("table.md", self._table(self.entries))

    def _write(self, name: str, text: str) -> None:
        with replacing(self.folder / name) as file:
            file.write(text.encode())


def stated(recipe: Recipe) -> dict[str, Any]:
    """What a recipe has besides the defaults, for a ledger to compare: fields that come later do not count."""
    defaults = Recipe(architecture=recipe.architecture, model=type(recipe.model)())
    values = {name: own for name, (own, _) in recipe.differences(defaults).items()}
    return values | {name: str(values[name]) for name in ("groups",) if name in values}


def _require_same(folder: Path, what: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What holds now, as JSON gives it back. Raises TrainingError where something else held before."""
    now = json.loads(json.dumps(now))
    changed = [
        f"{name} was {before.get(name, MISSING)} and is {now.get(name, MISSING)}"
        for name in (before | now if before else ())
        if before.get(name, MISSING) != now.get(name, MISSING)
    ]
    if changed:
        raise TrainingError(
            f"{what}the ledger in {folder} was begun with other settings ({'; '.join(changed)}): go on with those, or "
            "choose another --out"
        )
    return now


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} is damaged ({error}): mend it, or choose another --out") from error
    if not isinstance(found, dict):
        raise TrainingError(f"{path} is no ledger: choose another --out")
    return found


@contextmanager
def sentences() -> Iterator[None]:
    """What the package raises for its users ends the command with its sentence."""
    try:
        yield
    except TinymixerError as error:
        raise click.ClickException(str(error)) from error


class Until(Progress):
    """Asks a run for a stop when the time is up.

    end   by `time.monotonic()`; None: never
    """

    def __init__(self, end: float | None) -> None:
        self.end = end

    @property
    def is_over(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        if self.is_over:
            self.stop()


def finish(recipe: Recipe, folder: Path, dataset: Dataset, until: Until) -> dict[str, Any] | None:
    """Train, or go on with the run in the folder: the last row of its metrics; None where the time was up.

    Raises SystemExit when a signal asked for a stop, and what `Trainer` raises.
    """
    result = Trainer(recipe, folder, dataset, until, resume=(folder / "config.toml").exists()).run()
    if result.status == "interrupted":
        if result.signal is not None:
            raise SystemExit(128 + result.signal)
        return None
    row: dict[str, Any] = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return row


def trained_seconds(folder: Path) -> float:
    """How long a run, finished or not, has trained so far, by its rows."""
    path = folder / "metrics.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(json.loads(row).get("seconds", 0.0) for row in rows)


def without_test_images(dataset: Dataset) -> Dataset:
    """The data set for runs that choose something: they cannot look at test images."""
    return dataclasses.replace(
        dataset, test_images=dataset.test_images[:0], test_labels=dataset.test_labels[:0]
    )  # fmt: skip


def relative_time(row: Recipe, base: Recipe, dataset: Dataset, turns: int = 5) -> float:
    """The time of a step of `row`, in steps of `base`: the median over turns of both, one after the other.

    Whatever else the machine does then slows down both.
    """
    with tempfile.TemporaryDirectory() as scratch:
        trainers = [
            Trainer(each.with_overrides({"epochs": 1, "steps": 0, "seconds": 0}), Path(scratch) / str(i), dataset)
            for i, each in enumerate((row, base))
        ]
        ratios = []
        for turn in range(turns + 1):
            seconds = []
            for trainer in trainers:
                plan = first_steps(trainer, turn)
                started = time.perf_counter()
                for _ in trainer.engine.steps(plan):
                    pass
                seconds.append(time.perf_counter() - started)
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])  # the first turn fills caches


def first_steps(trainer: Trainer, turn: int = 0) -> list[Step]:
    """MEASURED_STEPS of training, or as many as the images allow, at a learning rate that moves next to nothing."""
    size = trainer.recipe.training.batch_size
    order = np.random.default_rng(turn).permutation(trainer.train_indices)
    parts = [order[i * size : (i + 1) * size] for i in range(min(MEASURED_STEPS, len(order) // size))]
    return [Step(part, 0, i, 1e-6) for i, part in enumerate(parts)]


def summed_up(found: Iterable[float], digits: int = 2) -> str:
    """Such as "84.13 (83.9 to 84.4)" for accuracies in per cent; "" for none."""
    numbers = list(found)
    spread = f" ({min(numbers):.1f} to {max(numbers):.1f})" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.{digits}f}{spread}" if numbers else ""
