"""Checkpoints: everything a run needs to go on exactly, in one .npz file without a pickle in it.

The arrays "parameters/<name>" and "optimizer/<name>", and three 0-d ones: "format" (a number), "recipe" (TOML text) and
"state" (JSON text, see `RunState`).
"""

import dataclasses
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinymixer.backend import Backend
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import MlpMixer
from tinymixer.training.files import replacing
from tinymixer.training.recipe import Recipe

FORMAT = 1
# What NumPy and zipfile raise for bytes that are not what they should be.
UNREADABLE = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass
class RunState:
    """Where a run stands.

    epoch             epochs finished
    step              steps finished of the epoch that is under way
    loss_sum, correct, images   over those steps: sum of the images' losses, images classified correctly, images seen
    train_seconds     spent on those steps
    epoch_started     when this epoch began, in seconds of the run
    elapsed_seconds   spent on the whole run, over all its sittings
    best_accuracy     highest test accuracy of any epoch, -1 before the first
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    images: int = 0
    train_seconds: float = 0.0
    epoch_started: float = 0.0
    elapsed_seconds: float = 0.0
    best_accuracy: float = -1.0

    def add_step(self, loss: float, correct: int, images: int, seconds: float) -> None:
        self.add_steps(1, loss * images, correct, images, seconds)

    def add_steps(self, steps: int, loss_sum: float, correct: int, images: int, seconds: float) -> None:
        self.step += steps
        self.loss_sum += loss_sum
        self.correct += correct
        self.images += images
        self.train_seconds += seconds

    def end_epoch(self, test_accuracy: float, elapsed_seconds: float) -> bool:
        """Turn to the next epoch; say whether this one was the best so far."""
        improved = test_accuracy > self.best_accuracy
        self.best_accuracy = max(test_accuracy, self.best_accuracy)
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.correct, self.images, self.train_seconds = 0.0, 0, 0, 0.0
        self.epoch_started = elapsed_seconds
        return improved


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint, on the host."""

    recipe: Recipe
    state: RunState
    parameters: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that `path` holds either the old one or the new one, whatever happens.

    Raises CheckpointError when it cannot be written, or holds numbers that are not finite; the old one then stays.
    """
    arrays = {f"parameters/{name}": array for name, array in checkpoint.parameters.items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer.items()}
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise CheckpointError(f"{path} was not saved, since '{name}' holds numbers that are not finite")
    arrays["format"] = np.array(FORMAT)
    arrays["recipe"] = np.array(checkpoint.recipe.to_toml())
    arrays["state"] = np.array(json.dumps(dataclasses.asdict(checkpoint.state)))
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint; nothing is ever unpickled.

    Raises CheckpointError for a file that is missing, cut short, from another version, or not a checkpoint of ours, and
    for one that holds numbers that are not finite.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    missing = [name for name in ("format", "recipe", "state") if name not in arrays]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of tinymixer: it holds no '{missing[0]}'")
    if arrays["format"].dtype.kind != "i" or arrays["format"].shape != () or arrays["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {arrays['format']}, this version reads {FORMAT}: "
            "use the version of tinymixer that wrote it"
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise CheckpointError(f"{path} is damaged: '{name}' holds numbers that are not finite")
    try:
        recipe = Recipe.from_toml(str(arrays["recipe"]), "its recipe")
    except ConfigError as error:
        raise CheckpointError(f"{path} has a recipe that cannot be used: {error}") from error
    state = _read_state(path, str(arrays["state"]))
    return Checkpoint(recipe, state, _below("parameters/", arrays), _below("optimizer/", arrays))


def load_model(
    run_or_file: str | Path, which: str = "best", backend: str | Backend = "auto", kernels: str = "auto"
) -> tuple[MlpMixer, Recipe]:
    """Rebuild a trained model and its recipe from a run folder ("best" or "last" epoch) or from a checkpoint file.

    Raises CheckpointError when there is none, or when it cannot be used.
    """
    if which not in ("best", "last"):
        raise CheckpointError(f"a run keeps its 'best' and its 'last' weights, not '{which}'")
    path = Path(run_or_file)
    if path.is_dir():
        path = _checkpoint_of(path, which)
    checkpoint = load_checkpoint(path)
    recipe = checkpoint.recipe
    model = MlpMixer(recipe.model, backend=backend, dtype=recipe.training.dtype, kernels=kernels)
    try:
        model.parameters.load(checkpoint.parameters)
    except CheckpointError as error:
        raise CheckpointError(f"{path} does not fit its own recipe: {error}") from error
    return model, recipe


def _checkpoint_of(folder: Path, which: str) -> Path:
    path = folder / f"{which}.npz"
    if path.is_file():
        return path
    if which == "best" and (folder / "last.npz").is_file():
        raise CheckpointError(f"{folder} has no best.npz yet, since no epoch is finished: choose its 'last' weights")
    raise CheckpointError(f"{folder} holds no {which}.npz: expected the folder of a training run")


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            # Not compressed, so that no array is larger than the file; whole, before anything in it is interpreted.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its arrays are compressed, which ours never are")
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the check sum of '{damaged}' is wrong")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except UNREADABLE as error:
        reason = "arrays of Python objects are refused" if "allow_pickle" in str(error) else str(error)
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({reason}): it is damaged or another file; use the run's "
            "other one (best.npz or last.npz), or start a new run"
        ) from error


def _read_state(path: Path, text: str) -> RunState:
    fields = {field.name: type(field.default) for field in dataclasses.fields(RunState)}
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != fields:
        raise CheckpointError(f"{path} is damaged: its 'state' does not say where the run stands")
    if any(not math.isfinite(value) or (value < 0 and name != "best_accuracy") for name, value in values.items()):
        raise CheckpointError(f"{path} is damaged: its 'state' holds a number that cannot be")
    return RunState(**values)


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
