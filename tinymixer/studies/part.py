"""Runs one part of a study: an ordinary run without test images, and the figures that are taken from it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinymixer.borders import shown_path
from tinymixer.data import Dataset, load_dataset
from tinymixer.errors import TinymixerError, TrainingError
from tinymixer.files import replacing
from tinymixer.studies.numbers import FAILED, FINISHED, MISSING, PartResult
from tinymixer.studies.study import Form, Part
from tinymixer.sweeps.plan import without_test
from tinymixer.text import reason_of
from tinymixer.training.folder_lock import FolderLock
from tinymixer.training.history import read_rows
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe
from tinymixer.training.run_folder import RunFolder
from tinymixer.training.trainer import Trainer

RESULT, PROGRESS, EPOCHS = "result.json", "progress.json", "epochs.json"
BETWEEN_NOTES = 0.5  # seconds after which a part says again how far it is
PATIENCE = 20.0  # seconds for a process that a killed command left behind to notice, and let go of the part


@dataclass
class HowFar:
    """How far a part is: its share from 0 to 1, and what it has cost so far."""

    share: float = 0.0
    seconds: float = 0.0
    processor_seconds: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> "HowFar":
        """What the file in a part's folder says; nothing where there is none, or it is damaged."""
        try:
            table = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
            return cls(*(float(table[name]) for name in ("share", "seconds", "processor_seconds")))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        with replacing(folder / PROGRESS) as file:
            file.write(json.dumps(vars(self)).encode())


class PartProgress(Progress):
    """Writes how far a run is into its part's folder, and what `watch` finds in it; stops the run when asked.

    A part draws no curves: that takes as long as many of the steps of a quick form.
    """

    wants_curves = False

    def __init__(
        self, folder: Path, stopped: Callable[[], bool], whole_process: bool,
        watch: Callable[[Trainer], Mapping[str, float]] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.stopped, self.watch = folder, stopped, watch
        self.epochs = [] if watch is None else read_epochs(folder)
        self.before, self.total_steps, self.last = HowFar.read(folder), 1, 0.0
        self.share = self.before.share
        self.begun, self.processor_begun = time.perf_counter(), 0.0 if whole_process else time.process_time()

    def so_far(self, share: float) -> HowFar:
        return HowFar(
            share,
            self.before.seconds + time.perf_counter() - self.begun,
            self.before.processor_seconds + time.process_time() - self.processor_begun,
        )

    def on_start(self, trainer: Trainer) -> None:
        self.trainer, self.total_steps = trainer, trainer.total_steps

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        self.share = step / self.total_steps
        if time.perf_counter() - self.last > BETWEEN_NOTES:
            self.so_far(self.share).write(self.folder)
            self.last = time.perf_counter()
        if self.stopped():
            self.stop()

    def on_epoch(self, row: dict[str, Any]) -> None:
        if self.watch is None:
            return
        before = [each for each in self.epochs if each["epoch"] < row["epoch"]]  # a resumed run may repeat an epoch
        self.epochs = [*before, {"epoch": row["epoch"], **self.watch(self.trainer)}]
        with replacing(self.folder / EPOCHS) as file:
            file.write(json.dumps(self.epochs).encode())


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """What was found after each epoch of the run in a part's folder; [] where nothing was, or the file is damaged."""
    try:
        found = json.loads((folder / EPOCHS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in found if isinstance(row, dict) and "epoch" in row] if isinstance(found, list) else []


def run_part(
    part: Part,
    form: Form,
    folder: Path,
    threads: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    whole_process: bool = False,
) -> PartResult | None:
    """Do a part in its folder, or what is left of it, and write its result there; None where it was interrupted.

    threads         that its run gets, where its recipe does not say
    stopped         asked after every step
    whole_process   count all that the processors have worked for this process, its start among it

    Whatever goes wrong makes a failed part with a sentence. Only what asks the process itself to end is raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, lambda sentence: None)
    _acquire(lock)
    try:
        return _run_locked(part, form, folder, threads, PartProgress(folder, stopped, whole_process, part.watch))
    finally:
        lock.release()


def _run_locked(part: Part, form: Form, folder: Path, threads: int, progress: PartProgress) -> PartResult | None:
    figures: dict[str, Any] = {}
    state, message = FINISHED, ""
    try:
        trainer = None
        if part.recipe is not None:
            trainer = train(part, form, folder / "run", threads, progress)
            if trainer is None:
                progress.so_far(progress.share).write(folder)
                return None
            figures |= figures_of(trainer)
            if part.watch is not None:
                figures["epochs"] = progress.epochs
        if part.measure is not None:
            figures |= part.measure(trainer)
    except TinymixerError as error:
        state, message = FAILED, str(error)
    except Exception as error:  # one bad part never costs the rest
        state, message = FAILED, f"{type(error).__name__}: {reason_of(error)}"
    spent = progress.so_far(1.0)
    spent.write(folder)
    settings = {} if part.recipe is None else settings_of(part.recipe)
    result = PartResult(
        part.name, part.group, dict(part.what), part.seed, state, figures, settings,
        round(spent.seconds, 2), round(spent.processor_seconds, 2), message, part.after,
    )  # fmt: skip
    write_result(result, folder)
    return result


def train(part: Part, form: Form, folder: Path, threads: int, progress: Progress) -> Trainer | None:
    """Train a part's run to its end, going on where it was interrupted: its trainer; None where it was again.

    folder   of the run, in the part's, which lies beside that of the part that it starts from
    """
    assert part.recipe is not None
    recipe = part.recipe
    if not recipe.training.threads:
        recipe = recipe.with_overrides({"threads": threads})
    run = RunFolder(folder)
    dataset = part.images(without_test(images_of(form)))
    model = None if part.model is None else part.model(recipe.fitted_to(dataset), dataset)
    # The last weights, not the best: nothing is chosen by validation images. A resumed run has weights of its own.
    start = folder.parents[1] / part.after / "run" / "last.npz" if part.after and not run.holds_a_run else None
    trainer = Trainer(recipe, folder, dataset, progress, resume=run.holds_a_run, model=model, init_from=start)
    return None if trainer.run().status == "interrupted" else trainer


def images_of(form: Form) -> Dataset:
    """The images of a form of a study."""
    return load_dataset(form.dataset, path=form.data or None)


def figures_of(trainer: Trainer) -> dict[str, Any]:
    """What is measured in every run. Nothing is selected: the figures are those after the last step."""
    rows = read_rows(trainer.folder.metrics)
    last = rows[-1]
    model = trainer.model
    return {
        "validation_accuracy": last["validation_accuracy"],
        "validation_loss": last["validation_loss"],
        "train_accuracy": last["train_accuracy"],
        "train_loss": last["train_loss"],
        "validation_images": len(trainer.validation_indices),
        "steps": trainer.step,
        "parameters": model.parameters.count,
        "multiply_adds": int(model.multiply_adds),
        "training_seconds": round(trainer.seconds, 2),
        "validation_losses": [row["validation_loss"] for row in rows],
    }


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe has besides the defaults, as JSON holds it."""
    defaults = Recipe(architecture=recipe.architecture, model=type(recipe.model)())
    return {name: own for name, (own, _) in recipe.differences(defaults).items() if name != "groups"}


def write_result(result: PartResult, folder: Path) -> None:
    """Write a part's result into its folder."""
    with replacing(folder / RESULT) as file:
        file.write(json.dumps(vars(result), indent=1).encode())


def read_result(part: Part, folder: Path) -> PartResult:
    """What a part's folder says; "not finished" where it has no result yet.

    Raises TrainingError where the file is damaged, or is that of a run with other settings.
    """
    path = folder / RESULT
    if not path.is_file():
        far = HowFar.read(folder)
        return PartResult(
            part.name, part.group, dict(part.what), part.seed, MISSING, {}, {}, far.seconds, far.processor_seconds,
            after=part.after,
        )  # fmt: skip
    try:
        result = PartResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{shown_path(path)} is damaged ({reason_of(error)}): delete it, and the part is repeated"
        ) from error
    _require_same_settings(part, result, folder)
    return result


def _require_same_settings(part: Part, result: PartResult, folder: Path) -> None:
    """Raise TrainingError where a part has finished with other settings than it would have now."""
    now = {} if part.recipe is None else json.loads(json.dumps(settings_of(part.recipe)))
    names = [name for name in sorted({*now, *result.settings}) if now.get(name) != result.settings.get(name)]
    if result.state == FINISHED and names:
        name = names[0]
        then, new = (repr(settings[name]) if name in settings else "not set" for settings in (result.settings, now))
        raise TrainingError(
            f"{shown_path(folder)} was made with other settings ({name} is {then} there and {new} now), by another "
            "version of tinymixer perhaps: delete this folder to repeat the part, or choose another --out"
        )


def _acquire(lock: FolderLock) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            lock.acquire()
            return
        except TrainingError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)
