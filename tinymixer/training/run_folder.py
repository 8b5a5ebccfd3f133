"""A run's folder: config.toml, metrics.jsonl, last.npz, previous.npz, best.npz and curves.png."""

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinymixer.data import DataDescription
from tinymixer.errors import TrainingError
from tinymixer.files import Say, keep_under, remove_leftovers, replacing, say_nothing
from tinymixer.training.folder_lock import FolderLock
from tinymixer.training.length import with_one_length
from tinymixer.training.recipe import DESCRIPTION_TABLE, Recipe, load_recipe, read_toml_file

DEFAULT_ROOT = Path("runs")

# Fields that may change when a run is resumed: they change where and how numbers are computed, so at most the rounding.
FREE_ON_RESUME = (
    "data.data",
    *(
        f"training.{name}"
        for name in (
            "eval_batch_size", "checkpoint_every_steps", "engine", "backend", "kernels", "threads", "slice_images",
            "captured", "check_kernels", "step_rows",
        )
    ),
    "fine_tuning.init_from",  # a resumed run has its own weights, whatever it was started from
)  # fmt: skip


class RunFolder:
    """The files of one run.

    say   receives a sentence when the file system cannot do something that the run can do without
    """

    def __init__(self, path: str | Path, say: Say = say_nothing) -> None:
        self.path, self.say = Path(path), say
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "last.npz"
        self.previous = self.path / "previous.npz"
        self.best = self.path / "best.npz"
        self.curves = self.path / "curves.png"
        self.lock = FolderLock(self.path, say)

    @classmethod
    def create(
        cls,
        recipe: Recipe,
        path: str | Path | None = None,
        data: DataDescription | None = None,
        say: Say = say_nothing,
    ) -> "RunFolder":
        """Make and lock a folder for a new run: `path`, or the first free of runs/NAME, runs/NAME-2, ...

        The lock is taken before anything is read or written, so when several runs start in one folder only one goes on.
        Raises TrainingError where the folder holds a run already, another process trains into it, or it cannot be made.
        """
        try:
            folder = cls(first_free_folder(DEFAULT_ROOT, recipe.name) if path is None else path, say)
            folder.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            reason = getattr(error, "strerror", None) or error
            raise TrainingError(f"the run folder {path or DEFAULT_ROOT} cannot be made: {reason}") from error
        folder.lock.acquire()
        if folder.holds_a_run:
            folder.lock.release()
            raise TrainingError(
                f"{folder.path} holds a run already: add --resume to go on with it, or choose another --out"
            )
        folder.clean_up()
        folder.write_config(recipe, data)
        return folder

    @classmethod
    def reopen(cls, recipe: Recipe, path: str | Path, data: DataDescription, say: Say = say_nothing) -> "RunFolder":
        """Open and lock the folder of a run, to resume it with `recipe` on this data.

        Raises TrainingError when there is no run, when the recipe or the data would change its results, or when another
        process trains into it.
        """
        folder = cls(path, say)
        require_same_run(folder.read_config(), recipe, folder.path)
        require_same_data(folder.read_description(), data, folder.path)
        folder.lock.acquire()
        return folder

    @property
    def holds_a_run(self) -> bool:
        return any(path.exists() for path in (self.config, self.metrics, self.last, self.previous, self.best))

    def read_config(self) -> Recipe:
        """The recipe this run was started with. Raises TrainingError when the folder holds no run."""
        if not self.config.is_file():
            raise TrainingError(f"{self.path} holds no run to resume: leave --resume away to start one there")
        return load_recipe(self.config)

    def read_description(self) -> DataDescription | None:
        """The description of the run's data; None before checkpoint format 2. Raises DataError where it is invalid."""
        table = read_toml_file(self.config).get(DESCRIPTION_TABLE)
        return None if table is None else DataDescription.from_dict(table)

    def write_config(self, recipe: Recipe, data: DataDescription | None) -> None:
        with replacing(self.config, self.say) as file:
            file.write(recipe.to_toml({} if data is None else {DESCRIPTION_TABLE: data.to_dict()}).encode())

    def give_up(self) -> None:
        """Remove the folder of a run that never began, as far as nothing else lies in it."""
        self.config.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def clean_up(self) -> None:
        """Remove the partly written files of a killed run."""
        remove_leftovers(self.path)

    def keep_last_as_previous(self) -> None:
        """Keep the present last.npz as previous.npz, before a new last.npz replaces it."""
        if self.last.is_file():
            try:
                keep_under(self.last, self.previous)
            except OSError as error:
                self.say(f"{self.previous} could not be kept ({error.strerror or error}): the run has one checkpoint")


def resolve_recipe(
    name_or_path: str | Path | None, overrides: Mapping[str, Any], out: str | Path | None = None, resume: bool = False
) -> Recipe:
    """The recipe that a command line asks for.

    A new run uses the named recipe and the overrides; without a name it uses "photos" for the user's own data, else
    "digits". A resumed run uses its own config.toml, so that the options it was started with need not be repeated; it
    is an error to name another recipe. Raises ConfigError and TrainingError.
    """
    data = overrides.get("data.data") or overrides.get("data")
    if data:  # kept in config.toml, so it must mean the same from every folder
        overrides = {name: value for name, value in overrides.items() if name != "data"}
        overrides |= {"data.data": str(Path(data).absolute())}
    if not resume:
        default = "photos" if data else "digits"
        recipe = load_recipe(name_or_path or default)
        return recipe.with_overrides(with_one_length(recipe, overrides))
    if out is None:
        raise TrainingError("--resume needs the run's folder: add --out FOLDER")
    recipe = RunFolder(out).read_config()
    if name_or_path is not None:
        asked = load_recipe(name_or_path)
        if asked.name != recipe.name:
            raise TrainingError(f"{out} holds a run of the recipe '{recipe.name}', not of '{asked.name}'")
    return recipe.with_overrides(overrides)


def sized_as_before(recipe: Recipe, out: str | Path) -> Recipe:
    """A recipe whose model's sizes come from weights, with the sizes that the run in `out` began with.

    Raises TrainingError when there is no run.
    """
    began = RunFolder(out).read_config()
    return dataclasses.replace(recipe, architecture=began.architecture, model=began.model, from_data=began.from_data)


def require_same_run(started: Recipe, resumed: Recipe, folder: Path) -> None:
    """Raise TrainingError, which names the fields, where resuming with this recipe would change the results.

    `epochs` may change only with the constant schedule, where it changes no learning rate, and where it says how long
    the run is.
    """
    by_epochs = not (started.training.steps or started.training.seconds)
    may_be_longer = by_epochs and started.schedule.schedule == "constant"
    free = FREE_ON_RESUME + (("training.epochs",) if may_be_longer else ())
    changed = {name: pair for name, pair in started.differences(resumed).items() if name not in free}
    if changed:
        listed = ", ".join(f"{name} ({before!r} then, {now!r} now)" for name, (before, now) in changed.items())
        raise TrainingError(
            f"the run in {folder} was started with another recipe, so it cannot be resumed with this one: {listed}; "
            "resume it as it was, or start a new run with another --out"
        )


def require_same_data(then: DataDescription | None, now: DataDescription, folder: Path) -> None:
    """Raise TrainingError where a run would resume with other images than it began with."""
    if then is not None and then.fingerprint != now.fingerprint:
        raise TrainingError(
            f"the run in {folder} was trained on '{then.name}'{f' ({then.source})' if then.source else ''}, and these "
            f"images, '{now.name}'{f' ({now.source})' if now.source else ''}, are others: resume it with the images it "
            "began with, or start a new run with another --out"
        )


def first_free_folder(root: Path, name: str) -> Path:
    """Make and return the first of NAME, NAME-2, ... in a folder that does not exist yet. Raises OSError."""
    name, number = folder_name(name), 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1


def folder_name(name: str) -> str:
    """Turn a recipe's name into a folder name that every system allows: letters, digits, ".", "_" and "-"."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:80]
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain, re.IGNORECASE)  # devices, on Windows
    return f"run-{plain}" if reserved else plain or "run"
