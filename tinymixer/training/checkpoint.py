"""Checkpoints: all that a run needs to continue exactly, in one .npz file that contains no pickle.

A checkpoint holds the arrays "parameters/<name>", "buffers/<name>" and "optimizer/<name>", where needed "engine/<name>"
(such as the loss scale; a missing entry means its first value), in a run that averages its weights
"average/parameters/<name>", "average/buffers/<name>" and "average/updates", and these 0-d arrays:
"format" (a number), "recipe" (TOML text), "state" and "data" (JSON text, see `RunState` and `DataDescription`),
"history" (JSON, the rows of metrics.jsonl so far), "arithmetic" (JSON, see `arithmetic_of`), "generator" (the name of
the random number generator) and "digest" (SHA-256 of the names and contents of all others). Format 1 had no buffers,
data, generator and digest.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.data import DataDescription
from tinymixer.draws import GENERATOR
from tinymixer.errors import CheckpointError, ConfigError, DataError
from tinymixer.files import Say, replacing, say_nothing
from tinymixer.npz import below, write_npz
from tinymixer.training.checkpoint_file import read_arrays
from tinymixer.training.recipe import Recipe
from tinymixer.training.run_state import RunState

FORMAT = 2
FORMATS = (1, 2)
TEXTS = ("recipe", "state", "data", "generator", "digest")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint, on the host.

    data        describes the images that the run trains on; None in format 1
    generator   name of the run's random number generator; "" in format 1
    history     a row per finished epoch; None where the checkpoint has no history
    arithmetic  see `arithmetic_of`; empty in older checkpoints
    engine      the engine's own state (`Engine.state_dict`), and under "skipped" the steps whose update was left out;
                empty in older checkpoints
    average     the average of the weights (`WeightAverage.state_dict`); empty in a run that does not average
    """

    recipe: Recipe
    state: RunState
    parameters: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray] = field(default_factory=dict)
    data: DataDescription | None = None
    generator: str = GENERATOR
    format: int = FORMAT
    history: list[dict[str, Any]] | None = None
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, np.ndarray] = field(default_factory=dict)
    average: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_averaged(self) -> bool:
        """Whether it holds averaged weights beside those of the last step."""
        return bool(self.average)

    def weights(self, averaged: bool = True) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        """Weights and buffers by name: the averaged ones where there are any and they are wanted, else the raw ones."""
        if averaged and self.is_averaged:
            return below("parameters/", self.average), below("buffers/", self.average)
        return self.parameters, self.buffers


def save_checkpoint(path: Path, checkpoint: Checkpoint, say: Say = say_nothing) -> None:
    """Write a checkpoint; a crash at any moment leaves either the old file or the new one whole.

    Raises CheckpointError when it cannot be written, or holds numbers that are not finite; the old file then stays.
    """
    arrays = {f"parameters/{name}": array for name, array in checkpoint.parameters.items()}
    arrays |= {f"buffers/{name}": array for name, array in checkpoint.buffers.items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    arrays |= {f"engine/{name}": array for name, array in checkpoint.engine.items()}
    arrays |= {f"average/{name}": array for name, array in checkpoint.average.items()}
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise CheckpointError(f"{path} was not saved, since '{name}' holds numbers that are not finite")
    arrays["format"] = np.array(FORMAT)
    arrays["recipe"] = np.array(checkpoint.recipe.to_toml())
    arrays["state"] = np.array(json.dumps(dataclasses.asdict(checkpoint.state)))
    arrays["data"] = np.array(json.dumps(None if checkpoint.data is None else checkpoint.data.to_dict()))
    arrays["history"] = np.array(json.dumps(checkpoint.history))
    arrays["arithmetic"] = np.array(json.dumps(dict(checkpoint.arithmetic)))
    arrays["generator"] = np.array(checkpoint.generator)
    arrays["digest"] = np.array(digest(arrays))
    with replacing(path, say) as file:
        write_npz(file, arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint; nothing is ever unpickled.

    Raises CheckpointError for a file that is missing, cut short, changed, from another version, or not a checkpoint of
    tinymixer, and for one that holds numbers that are not finite.
    """
    path = Path(path)
    arrays = read_arrays(path)
    missing = [name for name in ("format", "recipe", "state") if name not in arrays]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of tinymixer: it holds no '{missing[0]}'")
    found = arrays["format"]
    if found.dtype.kind != "i" or found.shape != () or found not in FORMATS:
        raise CheckpointError(
            f"{path} has checkpoint format {found}, this version reads {' and '.join(map(str, FORMATS))}: "
            "use the version of tinymixer that wrote it"
        )
    _require_whole(path, arrays, int(found))
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise CheckpointError(f"{path} is damaged: '{name}' holds numbers that are not finite")
    try:
        recipe = Recipe.from_toml(str(arrays["recipe"]), "its recipe")
    except ConfigError as error:
        raise CheckpointError(f"{path} has a recipe that cannot be used: {error}") from error
    return Checkpoint(
        recipe,
        RunState.from_json(str(arrays["state"]), path, int(found)),
        below("parameters/", arrays),
        below("optimizer/", arrays),
        below("buffers/", arrays),
        _description(path, arrays),
        str(arrays["generator"]) if "generator" in arrays else "",
        int(found),
        _history(path, arrays),
        _json(path, arrays, "arithmetic", dict) or {},
        below("engine/", arrays),
        _average(path, arrays, recipe),
    )


def _average(path: Path, arrays: Mapping[str, np.ndarray], recipe: Recipe) -> dict[str, np.ndarray]:
    """The entries of the average. Raises CheckpointError where they are not those of this recipe and these weights."""
    average = below("average/", arrays)
    if bool(average) != bool(recipe.optimizer.ema_decay):
        holds = "holds averaged weights" if average else "holds no averaged weights"
        raise CheckpointError(
            f"{path} is damaged: its recipe has ema_decay = {recipe.optimizer.ema_decay:g}, and it {holds}"
        )
    updates = average.get("updates", np.array(-1))
    if average and (updates.shape != () or updates.dtype.kind != "i" or updates < 0):
        raise CheckpointError(f"{path} is damaged: its average has no whole number of updates")
    for part in ("parameters/", "buffers/"):
        raw, averaged = below(part, arrays), below(part, average)
        kinds = [{name: (array.shape, array.dtype) for name, array in of.items()} for of in (raw, averaged)]
        if average and kinds[0] != kinds[1]:
            names = ", ".join(sorted(name for name in raw | averaged if kinds[0].get(name) != kinds[1].get(name)))
            raise CheckpointError(f"{path} is damaged: its averaged weights differ from the others in kind ({names})")
    return average


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the names, shapes, dtypes and contents of all arrays but the digest itself, as hexadecimal text."""
    sum_of_all = hashlib.sha256()
    for name in sorted(arrays):
        if name != "digest":
            array = np.ascontiguousarray(arrays[name])
            sum_of_all.update(f"{name}\0{array.dtype.str}\0{arrays[name].shape}\0".encode())
            sum_of_all.update(array.data.cast("B") if array.dtype.kind != "U" else array.tobytes())
    return sum_of_all.hexdigest()


def _require_whole(path: Path, arrays: Mapping[str, np.ndarray], number: int) -> None:
    """Raise CheckpointError where an entry is missing, or the digest shows that one was changed."""
    if number == 1:
        if "digest" in arrays:
            raise CheckpointError(f"{path} was changed: format 1 had no digest, and this file has one")
        return
    for name in TEXTS:
        if name not in arrays or arrays[name].dtype.kind != "U" or arrays[name].shape != ():
            raise CheckpointError(f"{path} is damaged: it holds no text '{name}'")
    if str(arrays["digest"]) != digest(arrays):
        raise CheckpointError(
            f"{path} is damaged or was changed: its contents are not those that were saved; use the run's other "
            "checkpoint (best.npz, last.npz or previous.npz), or start a new run"
        )


def _description(path: Path, arrays: Mapping[str, np.ndarray]) -> DataDescription | None:
    values = _json(path, arrays, "data", dict)
    try:
        return None if values is None else DataDescription.from_dict(values)
    except DataError as error:
        raise CheckpointError(f"{path} is damaged: its 'data' does not describe a data set ({error})") from error


def _history(path: Path, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]] | None:
    rows = _json(path, arrays, "history", list)
    if rows is not None and [row.get("epoch") if isinstance(row, dict) else 0 for row in rows] != [
        *range(1, len(rows) + 1)
    ]:
        raise CheckpointError(f"{path} is damaged: its 'history' is not a row for each epoch")
    return rows


def _json(path: Path, arrays: Mapping[str, np.ndarray], name: str, kind: type) -> Any:
    """The value of a JSON entry; None for null and for a missing entry. Raises CheckpointError for another kind."""
    if name not in arrays:
        return None
    try:
        value = json.loads(str(arrays[name]))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its '{name}' cannot be read ({error})") from error
    if value is not None and not isinstance(value, kind):
        raise CheckpointError(f"{path} is damaged: its '{name}' is not what it should be")
    return value
