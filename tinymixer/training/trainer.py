"""A whole run: the epochs around the step, and everything that keeps them safe."""

import math
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from tinymixer.backend import get_backend
from tinymixer.data import Batches, Dataset, generator, load_dataset
from tinymixer.errors import CheckpointError, TrainingError
from tinymixer.models import MlpMixer
from tinymixer.training.build import make_optimizer, require_fit, schedule_of
from tinymixer.training.checkpoint import Checkpoint, RunState, load_checkpoint, save_checkpoint
from tinymixer.training.computation import make_computation
from tinymixer.training.evaluate import Evaluation, evaluate, evaluate_logits
from tinymixer.training.fused import FusedTraining, fused_obstacle, require_precision
from tinymixer.training.history import append_row, read_rows
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe, recipe_names
from tinymixer.training.run_folder import RunFolder, require_same_run
from tinymixer.training.step import train_step
from tinymixer.training.stop import StopSignals

SECONDS_BETWEEN_PICTURES = 60.0


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `Trainer.run` ended.

    status          "finished", "interrupted" (by `signal`), or "already finished" when there was nothing left to do
    message         one or two sentences for the user: the result, or how to go on
    epochs          epochs finished
    best_accuracy   highest test accuracy (0 to 1), None before the first epoch's end
    seconds         spent on the run, over all its sittings
    """

    status: str
    message: str
    folder: Path
    epochs: int
    best_accuracy: float | None
    seconds: float
    signal: int | None = None


class Trainer:
    """Trains a Mixer by a recipe into a run folder.

    recipe     what to train, and how
    out        the run folder; None takes the first free of runs/NAME, runs/NAME-2, ...
    dataset    the images; None loads the recipe's
    progress   hears how it goes
    resume     go on with the run in `out`, exactly where its last checkpoint stands

    Raises ConfigError when recipe and data do not fit, TrainingError when the folder cannot be used, CheckpointError
    when the checkpoint to resume from cannot.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: str | Path | None = None,
        dataset: Dataset | None = None,
        progress: Progress | None = None,
        resume: bool = False,
    ) -> None:
        if resume and out is None:
            raise TrainingError("to resume a run, say in which folder it is: --out FOLDER")
        self.recipe = recipe
        self.progress = progress or Progress()
        self.resume = resume
        training = recipe.training
        self.dataset = dataset or load_dataset(recipe.data.dataset, path=recipe.data.data or None)
        require_fit(recipe, self.dataset)
        self.backend = get_backend(training.backend, training.kernels)
        require_precision(recipe, self.backend)
        self.model = MlpMixer(
            recipe.model, backend=self.backend, dtype=training.dtype, seed=generator(training.seed, "init")
        )
        self.computation = make_computation(self.model, training.threads, training.slice_images)
        self.optimizer = make_optimizer(recipe, self.model.parameters)
        self.steps_per_epoch = len(self.dataset.train_images) // training.batch_size
        self.total_steps = training.epochs * self.steps_per_epoch
        self.schedule = schedule_of(recipe, self.steps_per_epoch)
        self.augmentation = recipe.augmentation
        self.fused: FusedTraining | None = None
        if fused_obstacle(recipe, self.backend) is None:
            self.fused = FusedTraining(
                recipe, self.dataset, self.model, self.optimizer, self.schedule, self.augmentation
            )
        self.state = RunState()
        self.folder = RunFolder.reopen(recipe, out) if resume and out else RunFolder.create(recipe, out)

        self._clock_started, self._seconds_before = time.perf_counter(), 0.0
        self._steps_here, self._pictured = 0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, over all its sittings."""
        return self._seconds_before + time.perf_counter() - self._clock_started

    @property
    def step(self) -> int:
        """Steps done in the whole run."""
        return self.state.epoch * self.steps_per_epoch + self.state.step

    def run(self) -> TrainingResult:
        """Train to the end, or until SIGINT or SIGTERM asks for a stop.

        Raises TrainingError for a loss that is not finite (the last good checkpoint stays), and CheckpointError or
        TrainingError when something cannot be read or saved.
        """
        with self.folder.locked(), StopSignals() as self.stop:
            self._restore() if self.resume else self._save(self.folder.last)
            if self.state.epoch >= self.recipe.training.epochs:
                return self._end("already finished")
            self.progress.on_start(self)
            if self.fused is not None:
                self.progress.on_note(self.fused.description)
            while self.state.epoch < self.recipe.training.epochs:
                self._train_epoch() if self.fused is None else self._train_epoch_fused(self.fused)
                evaluation = None if self.stop.requested() else self._evaluate()
                if evaluation is None:
                    self._save(self.folder.last)
                    return self._end("interrupted")
                self._end_epoch(evaluation)
            return self._end("finished")

    def _train_epoch(self) -> None:
        """Take the steps that are left of the epoch under way, or those before a stop is asked for."""
        training, state = self.recipe.training, self.state
        started = time.perf_counter()
        for images, labels in self._batches():
            if self.stop.requested():
                return
            result = train_step(
                self.computation,
                self.optimizer,
                self.backend.asarray(images),
                self.backend.asarray(labels),
                self.schedule(self.step),
                training.label_smoothing,
                generator(training.seed, "masks", state.epoch, state.step),
                training.micro_batches,
            )
            state.add_step(result.loss, result.correct, len(labels), time.perf_counter() - started)
            self._report_steps(1)
            if training.checkpoint_every_steps and self.step % training.checkpoint_every_steps == 0:
                self._save(self.folder.last)
            started = time.perf_counter()

    def _train_epoch_fused(self, fused: FusedTraining) -> None:
        """The same through the captured GPU step, which reports several steps at once."""
        every, started = self.recipe.training.checkpoint_every_steps, time.perf_counter()
        for steps, totals in fused.epoch(self.state.epoch, self.state.step, self.stop.requested):
            now = time.perf_counter()
            self.state.add_steps(steps, totals.loss_sum, totals.correct, totals.images, now - started)
            started = now
            self._report_steps(steps)
            if every and self.step % every == 0:
                self._save(self.folder.last)

    def _batches(self) -> Batches:
        """The batches that are left of the epoch under way; a last, smaller one is left out."""
        training, dataset = self.recipe.training, self.dataset
        return Batches(
            dataset.train_images,
            dataset.train_labels,
            batch_size=training.batch_size,
            seed=training.seed,
            epoch=self.state.epoch,
            augmentation=self.augmentation,
            mean=dataset.mean,
            std=dataset.std,
            start_step=self.state.step,
            dtype=self.model.parameters.dtype,
        )

    def _evaluate(self) -> Evaluation | None:
        """Evaluate on the test images; None when a stop is asked for meanwhile."""
        if self.fused is not None:
            logits = self.fused.test_logits(self.stop.requested)  # (N, K)
            return None if logits is None else evaluate_logits(logits, self.dataset.test_labels)
        return evaluate(
            self.computation,
            self.dataset.test_images,
            self.dataset.test_labels,
            self.dataset.mean,
            self.dataset.std,
            self.recipe.training.eval_batch_size,
            self.stop.requested,
        )

    def _end_epoch(self, evaluation: Evaluation) -> None:
        """Write the epoch down. The row goes before the checkpoint: after a crash in between, the epoch is repeated."""
        if not math.isfinite(evaluation.loss):
            raise TrainingError(
                f"the test loss became {evaluation.loss} after step {self.step}: try a lower learning_rate"
            )
        state = self.state
        row = {
            "epoch": state.epoch + 1,
            "train_loss": state.loss_sum / state.images,
            "train_accuracy": state.correct / state.images,
            "test_loss": evaluation.loss,
            "test_accuracy": evaluation.accuracy,
            "images_per_second": state.images / state.train_seconds,
            "seconds": self.seconds - state.epoch_started,
            "learning_rate": self.schedule(self.step - 1),
        }
        if state.end_epoch(evaluation.accuracy, self.seconds):
            self._save(self.folder.best)
        append_row(self.folder.metrics, row)
        self._save(self.folder.last)
        self.progress.on_epoch(row)
        if time.perf_counter() - self._pictured > SECONDS_BETWEEN_PICTURES:
            self._draw_curves()

    def _report_steps(self, steps: int) -> None:
        state = self.state
        self._steps_here += steps
        seconds_per_step = (self.seconds - self._seconds_before) / self._steps_here
        self.progress.on_step(
            self.step,
            state.loss_sum / state.images,
            state.correct / state.images,
            state.images / state.train_seconds,
            (self.total_steps - self.step) * seconds_per_step,
        )

    def _save(self, path: Path) -> None:
        self.state.elapsed_seconds = self.seconds
        parameters, optimizer = self.model.parameters.to_numpy(), self.optimizer.state_dict()
        save_checkpoint(path, Checkpoint(self.recipe, self.state, parameters, optimizer))

    def _restore(self) -> None:
        """Go back to the last checkpoint; a run that was killed before its first one starts at the beginning."""
        folder = self.folder
        if folder.last.exists():
            checkpoint = load_checkpoint(folder.last)
            require_same_run(checkpoint.recipe, self.recipe, folder.path)
            self.model.parameters.load(checkpoint.parameters)
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self.state = checkpoint.state
            if self.fused is not None:
                self.fused.refresh()
        elif folder.best.exists() or read_rows(folder.metrics):
            raise CheckpointError(f"{folder.last} is missing, so the run cannot go on: put it back, or start a new run")
        if self.state.step > self.steps_per_epoch:
            raise CheckpointError(
                f"{folder.last} stands at step {self.state.step} of an epoch of {self.steps_per_epoch}"
            )
        folder.clean_up(self.state.epoch)
        folder.write_config(self.recipe)
        self._clock_started, self._seconds_before = time.perf_counter(), self.state.elapsed_seconds
        if self.step < self.total_steps:
            where = f"step {self.step} of {self.total_steps} (epoch {self.state.epoch + 1})"
            self.progress.on_note(f"resuming after {where}")

    def _draw_curves(self) -> None:
        """Draw curves.png; a picture that cannot be drawn is no reason to stop."""
        self._pictured = time.perf_counter()
        rows = read_rows(self.folder.metrics)
        if not rows:
            return
        try:
            from tinymixer.analysis.curves import draw_curves

            draw_curves({self.recipe.name: rows}, self.folder.curves)
        except ImportError:
            self.progress.on_note("curves.png is not drawn, since Matplotlib is not installed: pip install matplotlib")
        except CheckpointError as error:
            self.progress.on_note(f"curves.png is not drawn: {error}")

    def _end(self, status: str) -> TrainingResult:
        if status != "already finished":
            self._draw_curves()
        state, folder = self.state, self.folder.path
        best = state.best_accuracy if state.epoch else None
        reached = "" if best is None else f", best test accuracy {best:.2%}"
        if status == "interrupted":
            name = f" {self.recipe.name}" if self.recipe.name in recipe_names() else ""
            message = (
                f"stopped after step {self.step} of {self.total_steps}{reached}; everything is saved. "
                f"Go on with: tinymixer train{name} --out {shlex.quote(str(folder))} --resume"
            )
        else:
            message = f"{status}: {state.epoch} epochs in {state.elapsed_seconds:.0f} s{reached}, saved in {folder}"
        result = TrainingResult(
            status,
            message,
            folder,
            state.epoch,
            best,
            state.elapsed_seconds,
            self.stop.signal if status == "interrupted" else None,
        )
        self.progress.on_end(result)
        return result
