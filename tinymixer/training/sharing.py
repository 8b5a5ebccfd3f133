"""What holds for a run on several ranks: each has a part of every batch and the same weights, data and recipe."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinymixer import __version__
from tinymixer.backend import cupy_obstacle, get_backend
from tinymixer.data import DataDescription
from tinymixer.engines.cpu.quota import cpu_quota
from tinymixer.engines.cpu.threads import default_threads
from tinymixer.errors import ConfigError
from tinymixer.models import Model
from tinymixer.optim import WeightAverage
from tinymixer.parallel.ranks import Ranks
from tinymixer.training.options import TrainingOptions
from tinymixer.training.recipe import Recipe
from tinymixer.training.run_folder import RunFolder


def require_as_many_images(ranks: Ranks, batch_size: int) -> None:
    """Raise ConfigError where a rank would have no image of a batch."""
    if ranks.size > batch_size:
        raise ConfigError(
            f"{ranks.size} ranks cannot share out a batch of {batch_size} images: start {batch_size} or fewer, or take "
            "a larger --batch-size"
        )


def take_device(ranks: Ranks, options: TrainingOptions) -> None:
    """Choose this rank's GPU, before anything is put on one. Raises BackendError where two ranks would share one."""
    if ranks.size == 1 or options.backend == "numpy" or not all(ranks.gather(cupy_obstacle() is None)):
        return
    from tinymixer.parallel.gpu import use_own_gpu

    use_own_gpu(ranks, get_backend("cupy").xp)


def folder_on_first_rank(ranks: Ranks, open_it: Callable[[], RunFolder]) -> RunFolder:
    """The run's folder, opened and locked by rank 0; the others only know its name. Together."""
    opened: list[RunFolder] = []

    def path_of_opened() -> Path:
        opened.append(open_it())
        return opened[0].path

    path = ranks.first(path_of_opened)
    return opened[0] if opened else RunFolder(path)


def options_on_this_rank(ranks: Ranks, options: TrainingOptions) -> TrainingOptions:
    """The options with the number of threads that this rank may start beside the others on its machine."""
    if options.threads or ranks.cores is None:
        return options
    threads, quota = min(default_threads(), ranks.cores), cpu_quota()
    if quota is not None:
        threads = min(threads, max(1, int(quota / ranks.local_size)))
    return dataclasses.replace(options, threads=threads)


def require_same_run_everywhere(ranks: Ranks, recipe: Recipe, data: DataDescription, model: Model) -> None:
    """Raise TrainingError, on all ranks, where one would train something else, or on something else. Together."""
    if ranks.size == 1:
        return
    tables = recipe.to_dict()
    tables.get("data", {}).pop("data", None)  # where the images lie may differ from machine to machine
    ranks.require_same(
        {
            "the version of tinymixer": __version__,
            "the array library": model.backend.name,
            "the recipe": json.dumps(tables, indent=0, sort_keys=True, default=str),
            "the images": f"{data.name} {data.fingerprint}",
            "the first weights": digest_of(model),
        },
        "start all of them with the same command, the same version and the same data",
    )


def require_same_weights(ranks: Ranks, model: Model, step: int, average: WeightAverage | None = None) -> None:
    """Raise TrainingError, on all ranks, where weights or averages are no longer equal to the last bit. Together.

    Every rank makes the same update from the same sums, so this never happens on equal machines. Where it does, going
    on would train several models at once.
    """
    if ranks.size > 1:
        ranks.require_same(
            {f"the weights after step {step}": digest_of(model)}
            | ({f"the averaged weights after step {step}": digest_of(model, average)} if average is not None else {}),
            "one of the machines rounds otherwise (another processor type or NumPy), or computes wrongly; resume from "
            "the last checkpoint on machines of one kind",
        )


def digest_of(model: Model, average: WeightAverage | None = None) -> str:
    """SHA-256 over the model's weights and buffers, or over those of their average."""
    vectors = model.parameters if average is None else average
    to_numpy, found = model.backend.to_numpy, hashlib.sha256()
    for vector in (vectors.values, vectors.buffers):
        found.update(np.ascontiguousarray(to_numpy(vector)).tobytes())
    return found.hexdigest()
