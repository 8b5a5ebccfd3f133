"""What a run of a model costs, and how many steps a budget of seconds holds: the first phase of `architectures.py`."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ledger import first_steps, relative_time
from tinymixer import Trainer, load_dataset
from tinymixer.bench.memory import held_bytes, reset_peak
from tinymixer.data import Dataset
from tinymixer.models import make_model
from tinymixer.training import Recipe
from tinymixer.training.budget import RESERVE, Budget, Costs
from tinymixer.training.measuring import measure
from tinymixer.training.stop import StopSignals


@dataclass(frozen=True)
class Budgets:
    """Seconds from the command to the last figure.

    run       of a run that trains on all training images and ends with the test
    trial     of a run with validation images and without a test
    loading   what goes by in each until the data is there
    """

    run: float
    trial: float
    loading: float


def measured(
    recipe: Recipe, dataset: Dataset, data: Path | None, budgets: Budgets, beside: tuple[Recipe, float] | None
) -> dict[str, Any]:
    """The facts about a model that the ledger holds: sizes, speed, memory, and the steps of a run and of a trial.

    recipe    with validation images
    data      where the data set is, for a process of its own that measures memory
    beside    another recipe with its seconds for a step: then this one's are measured relative to it, in turns, so that
              whatever else the machine does slows down both; None: by the clock
    """
    built = make_model(recipe.architecture, recipe.fitted_to(dataset).model, seed=None)
    costs, start, validated, per_epoch = _costs(recipe, dataset, budgets.run)
    if beside is not None:
        costs = replace(costs, step=relative_time(recipe, beside[0], dataset) * beside[1])
    image, before = costs.validate / max(1, validated), budgets.loading + start
    of_run = replace(costs, validate=0.0, best=False, test=len(dataset.test_images) * image)
    of_trial = replace(costs, test=0.0)
    whole_epoch = len(dataset.train_images) // recipe.training.batch_size
    return {
        "parameters": built.parameters.count,
        "multiply_adds": built.multiply_adds,
        "step_seconds": costs.step,
        "images_per_second": recipe.training.batch_size / costs.step,
        "memory_bytes": memory_of(recipe, data),
        "steps": {
            "run": max(1, of_run.steps_within(budgets.run * (1 - RESERVE) - before, whole_epoch)),
            "trial": max(1, of_trial.steps_within(budgets.trial * (1 - RESERVE) - before, per_epoch)),
        },
    }


def _costs(recipe: Recipe, dataset: Dataset, seconds: float) -> tuple[Costs, float, int, int]:
    """Costs of a run's parts as `[training] seconds` measures them, seconds until its first step, its validation
    images, and its steps in an epoch. Raises SystemExit where a signal asks for a stop.
    """
    begun = time.perf_counter()
    with TemporaryDirectory() as scratch:
        given = recipe.with_overrides({"epochs": 1, "steps": 0, "seconds": seconds})
        trainer = Trainer(given, Path(scratch) / "run", dataset)
        start = time.perf_counter() - begun
        with StopSignals() as trainer.stop:
            costs = measure(trainer, Budget(seconds))
    if costs is None:
        raise SystemExit(130)
    return costs, start, len(trainer.validation_indices), trainer.steps_per_epoch


def cores_of_others(seconds: float = 2.0, stat: Path = Path("/proc/stat")) -> float | None:
    """How many cores other programs use while this one sleeps; None where the system does not say.

    (The load average would count this process's own work of the last minute, too.)
    """
    if not stat.exists():
        return None
    busy = []
    for pause in (seconds, 0.0):
        user, nice, system, _idle, _waiting, *others = map(int, stat.read_text().splitlines()[0].split()[1:9])
        busy.append((user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK"))
        time.sleep(pause)
    return (busy[1] - busy[0]) / seconds


def memory_of(recipe: Recipe, data: Path | None) -> int | None:
    """Bytes that model and training steps take at their peak, beyond the data; None where the system does not say."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, recipe, data).result()


def _peak(recipe: Recipe, data: Path | None) -> int | None:
    dataset = load_dataset(recipe.data.dataset, path=data)
    before = held_bytes(peak=False)
    reset_peak()
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            recipe.with_overrides({"epochs": 1, "steps": 0, "seconds": 0}), Path(scratch) / "run", dataset
        )
        for _ in trainer.engine.steps(first_steps(trainer)):
            pass
        peak = held_bytes(peak=True)
    return None if before is None or peak is None else peak - before
