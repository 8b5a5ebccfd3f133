"""The folder that a run leaves behind: config.toml, metrics.jsonl, last.npz, best.npz, curves.png."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinymixer.data import DataDescription
from tinymixer.errors import TrainingError
from tinymixer.files import remove_leftovers, replacing
from tinymixer.training.history import keep_epochs
from tinymixer.training.recipe import DESCRIPTION_TABLE, Recipe, load_recipe, read_toml_file

DEFAULT_ROOT = Path("runs")

# What may differ when a run is resumed: where and how the numbers are computed, which rounds them differently at most.
FREE_ON_RESUME = (
    "data.data",
    *(
        f"training.{name}"
        for name in (
            "eval_batch_size", "checkpoint_every_steps", "engine", "backend", "kernels", "threads", "slice_images",
        )
    ),
)  # fmt: skip


class RunFolder:
    """The files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "last.npz"
        self.best = self.path / "best.npz"
        self.curves = self.path / "curves.png"

    @classmethod
    def create(cls, recipe: Recipe, path: str | Path | None = None, data: DataDescription | None = None) -> "RunFolder":
        """Make a folder for a new run: `path`, or the first free of runs/NAME, runs/NAME-2, ...

        Raises TrainingError where a run is in the folder already, or where it cannot be made.
        """
        try:
            folder = cls(_new_default_folder(recipe.name) if path is None else path)
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"the run folder {error.filename} cannot be made: {error.strerror}") from error
        if folder.holds_a_run:
            raise TrainingError(
                f"{folder.path} holds a run already: add --resume to go on with it, or choose another --out"
            )
        folder.write_config(recipe, data)
        return folder

    @classmethod
    def reopen(cls, recipe: Recipe, path: str | Path, data: DataDescription) -> "RunFolder":
        """Open the folder of a run that is to go on with `recipe` on this data.

        Raises TrainingError when there is no run, or when the recipe or the data would change what it computes.
        """
        folder = cls(path)
        require_same_run(folder.read_config(), recipe, folder.path)
        require_same_data(folder.read_description(), data, folder.path)
        return folder

    @property
    def holds_a_run(self) -> bool:
        return any(path.exists() for path in (self.config, self.metrics, self.last, self.best))

    def read_config(self) -> Recipe:
        """The recipe this run was started with. Raises TrainingError when the folder holds no run."""
        if not self.config.is_file():
            raise TrainingError(f"{self.path} holds no run to resume: leave --resume away to start one there")
        return load_recipe(self.config)

    def read_description(self) -> DataDescription | None:
        """What the run's images are; None in a run of before format 2. Raises DataError for what is no description."""
        table = read_toml_file(self.config).get(DESCRIPTION_TABLE)
        return None if table is None else DataDescription.from_dict(table)

    def write_config(self, recipe: Recipe, data: DataDescription | None) -> None:
        with replacing(self.config) as file:
            file.write(recipe.to_toml({} if data is None else {DESCRIPTION_TABLE: data.to_dict()}).encode())

    def clean_up(self, epochs: int) -> None:
        """Remove what a killed run left behind: half-written files, and rows past the `epochs` of the checkpoint."""
        remove_leftovers(self.path)
        keep_epochs(self.metrics, epochs)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder. Raises TrainingError when one is.

        The lock is the operating system's and ends with the process, however it ends. Where there is no such lock
        (Windows), nothing is locked.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise TrainingError(
                f"another process is training into {self.path}: wait for it or choose another --out"
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)


def resolve_recipe(
    name_or_path: str | Path | None, overrides: Mapping[str, Any], out: str | Path | None = None, resume: bool = False
) -> Recipe:
    """The recipe that a command line asks for.

    A new run takes the named recipe and the overrides; without a name "digits", or "photos" where
    there is data of the user's own. A resumed one takes the run's own
    config.toml, so that what was chosen when it started need not be repeated; naming another recipe then is an error.
    Raises ConfigError and TrainingError.
    """
    data = overrides.get("data.data") or overrides.get("data")
    if data:  # kept in config.toml, so it must mean the same from every folder
        overrides = {name: value for name, value in overrides.items() if name != "data"}
        overrides |= {"data.data": str(Path(data).absolute())}
    if not resume:
        default = "photos" if data else "digits"
        return load_recipe(name_or_path or default).with_overrides(overrides)
    if out is None:
        raise TrainingError("--resume needs the run's folder: add --out FOLDER")
    recipe = RunFolder(out).read_config()
    if name_or_path is not None:
        asked = load_recipe(name_or_path)
        if asked.name != recipe.name:
            raise TrainingError(f"{out} holds a run of the recipe '{recipe.name}', not of '{asked.name}'")
    return recipe.with_overrides(overrides)


def require_same_run(started: Recipe, resumed: Recipe, folder: Path) -> None:
    """Raise TrainingError, naming the fields, where resuming would not go on with the same computation.

    `epochs` may change where it changes no learning rate, that is, with the constant schedule.
    """
    free = FREE_ON_RESUME + (("training.epochs",) if started.schedule.schedule == "constant" else ())
    changed = {name: pair for name, pair in started.differences(resumed).items() if name not in free}
    if changed:
        listed = ", ".join(f"{name} ({before!r} then, {now!r} now)" for name, (before, now) in changed.items())
        raise TrainingError(
            f"the run in {folder} was started with another recipe, so it cannot be resumed with this one: {listed}; "
            "resume it as it was, or start a new run with another --out"
        )


def require_same_data(then: DataDescription | None, now: DataDescription, folder: Path) -> None:
    """Raise TrainingError where a run would go on with other images than it began with."""
    if then is not None and then.fingerprint != now.fingerprint:
        raise TrainingError(
            f"the run in {folder} was trained on '{then.name}'{f' ({then.source})' if then.source else ''}, and these "
            f"images, '{now.name}'{f' ({now.source})' if now.source else ''}, are others: resume it with the images it "
            "began with, or start a new run with another --out"
        )


def _new_default_folder(name: str) -> Path:
    """Make and return the first of runs/NAME, runs/NAME-2, ... that is not there yet."""
    number = 1
    while True:
        path = DEFAULT_ROOT / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
