"""`Trainer`: runs the epochs of a training run, evaluates them, and saves and restores checkpoints."""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.data import Dataset, epoch_order
from tinymixer.engines import Step, Work, choose_engine
from tinymixer.errors import CheckpointError, ConfigError, TrainingError
from tinymixer.models import Model
from tinymixer.parallel.ranks import ONE_RANK, Ranks
from tinymixer.training.arithmetic import arithmetic_of, other_arithmetic
from tinymixer.training.build import build_model, make_optimizer, require_batch, schedule_of
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinymixer.training.evaluate import Evaluation, evaluate
from tinymixer.training.fine_tuning import choose_start, start_with
from tinymixer.training.history import Row, append_row, is_tested, mend_rows, write_rows
from tinymixer.training.memory import out_of_memory
from tinymixer.training.notebook import default_progress
from tinymixer.training.parts import frozen_words
from tinymixer.training.pictures import try_to_draw_curves
from tinymixer.training.prepare import prepare
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe
from tinymixer.training.result import TrainingResult, make_result
from tinymixer.training.resume import newest_checkpoint, with_precision
from tinymixer.training.run_folder import RunFolder, require_same_data, require_same_run
from tinymixer.training.run_state import RunState, what_is_missing
from tinymixer.training.sharing import (
    folder_on_first_rank,
    options_on_this_rank,
    require_as_many_images,
    require_same_run_everywhere,
    require_same_weights,
    take_device,
)
from tinymixer.training.stop import StopSignals

SECONDS_BETWEEN_PICTURES = 60.0


class Trainer:
    """Trains a model by a recipe into a run folder.

    recipe      what to train, and how
    out         the run folder; None takes the first free of runs/NAME, runs/NAME-2, ...
    dataset     the images; None loads the recipe's
    progress    receives the run's progress and can stop it; None shows a bar in a notebook and nothing elsewhere
    resume      continue the run in `out` from its last checkpoint, exactly
    model       your own model instead of the recipe's; training starts from its weights
    init_from   start from the weights of a run, a checkpoint, a file, or of a name ("first-mixer"): arrays of the same
                name and shape are loaded, the others are named in a note. "none" starts from scratch; None leaves it to
                the recipe, or to `model` where you give one. `recipe.fine_tuning` says how sizes and head are chosen
    ranks       the processes that train together (`tinymixer.parallel.launched_ranks`), each with a Trainer of its own.
                Rank 0's alone writes into the folder; give the others' a `Progress()`, which is silent

    A share of the training images (`recipe.data.validation_share`) is held back for validation; they alone decide which
    checkpoint is the best and when to stop early. The test images are used once, at the end, with the recommended
    checkpoint.

    Raises ConfigError when recipe, model and data do not fit, TrainingError when the folder cannot be used,
    CheckpointError when the checkpoint to resume from cannot.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: str | Path | None = None,
        dataset: Dataset | None = None,
        progress: Progress | None = None,
        resume: bool = False,
        model: Model | None = None,
        init_from: str | Path | None = None,
        ranks: Ranks = ONE_RANK,
    ) -> None:
        if resume and out is None:
            raise TrainingError("to resume a run, say in which folder it is: --out FOLDER")
        if resume and init_from is not None:
            raise ConfigError("--resume goes on with a run's own weights: leave --init-from out, or start a new run")
        self.ranks, self.progress = ranks, progress or default_progress()
        self._said: set[str] = set()
        self.resume = resume
        weights = choose_start(recipe, init_from, has_weights=resume or model is not None)
        recipe, self.dataset = prepare(recipe, dataset, model, weights, out if resume else None, ranks, self._say_once)
        training, images = recipe.training, self.dataset
        self.train_indices, self.validation_indices = images.split(recipe.data.validation_share, training.seed)
        require_batch(recipe, images, len(self.train_indices))
        require_as_many_images(ranks, training.batch_size)
        take_device(ranks, training)
        self.model = model or build_model(recipe)
        self.backend = self.model.backend
        if not resume:
            recipe = start_with(
                self.model, weights, recipe, images.class_names, self._say_once, asked=init_from is not None
            )
        self.optimizer = make_optimizer(recipe, self.model.parameters)
        if frozen := frozen_words(self.optimizer.groups, self.model.parameters):
            self._say_once(frozen)
        self.steps_per_epoch = len(self.train_indices) // training.batch_size
        self.total_steps = training.epochs * self.steps_per_epoch
        self.schedule = schedule_of(recipe, self.steps_per_epoch)
        work = Work(
            images.train_images, images.train_labels, images.mean, images.std, training.batch_size,
            recipe.augmentation, training.label_smoothing, training.micro_batches, training.seed, ranks,
            images.num_classes, sam_rho=recipe.optimizer.sam_rho,
        )  # fmt: skip
        require_same_run_everywhere(ranks, recipe, images.description, self.model)
        self.engine = choose_engine(self.model, options_on_this_rank(ranks, training), work, self.optimizer)
        if not resume:
            recipe = with_precision(recipe, self.engine.precision)
        self.recipe = recipe
        self.state = RunState(validation_images=len(self.validation_indices))
        self.folder = folder_on_first_rank(
            ranks,
            lambda: (
                RunFolder.reopen(recipe, out, images.description, self._say_once)
                if resume and out
                else RunFolder.create(recipe, out, images.description, self._say_once)
            ),
        )
        self.rows: list[Row] = []  # of metrics.jsonl
        self._clock_started, self._seconds_before = time.perf_counter(), 0.0
        self._steps_here, self._pictured = 0, time.perf_counter()
        self._skipped = 0  # steps of the whole run whose update was left out

    @property
    def seconds(self) -> float:
        """Training time of the run, including the time before it was resumed."""
        return self._seconds_before + time.perf_counter() - self._clock_started

    @property
    def step(self) -> int:
        """Steps done in the whole run."""
        return self.state.epoch * self.steps_per_epoch + self.state.step

    def run(self) -> TrainingResult:
        """Train to the end, or until SIGINT, SIGTERM, SIGHUP or `progress.stop()` asks for a stop.

        Raises TrainingError for a loss that is not finite (the last good checkpoint stays), and CheckpointError or
        TrainingError when something cannot be read or saved.
        """
        try:
            self.ranks.first(self.folder.lock.acquire)
            with StopSignals() as self.stop:
                return self._run()
        except MemoryError as error:
            raise TrainingError(out_of_memory(error, self.recipe, self.dataset, self.model)) from error
        finally:
            self.folder.lock.release()

    def _run(self) -> TrainingResult:
        self._restore() if self.resume else self._save(self.folder.last)
        if self._is_over() and self._is_tested():
            return self._end("already finished")
        self.progress.on_start(self)
        self._pass_on_note()
        for note in what_is_missing(self.dataset, len(self.validation_indices)):
            self.progress.on_note(note)
        while not self._is_over():
            self._train_epoch()
            if self._stop_requested() or not self._end_epoch():
                self._save(self.folder.last)
                return self._end("interrupted")
        return self._end("finished" if self._test() else "interrupted")

    def _asked_to_stop(self) -> bool:
        """Whether this process was asked to stop."""
        return self.stop.requested() or self.progress.stop_requested

    def _stop_requested(self) -> bool:
        """Whether the run is to stop: all ranks answer the same, after the same step."""
        return self.ranks.stop_agreed(self._asked_to_stop())

    # --------------------------------------------------------------------------------------------------------- epochs

    def _is_over(self) -> bool:
        training, state = self.recipe.training, self.state
        stopped_early = training.patience and state.epochs_without_progress() >= training.patience
        return state.epoch >= training.epochs or bool(stopped_early)

    def _train_epoch(self) -> None:
        """Take the remaining steps of the current epoch; stop early when a stop is requested."""
        state, every = self.state, self.recipe.training.checkpoint_every_steps
        while state.step < self.steps_per_epoch and not self._stop_requested():
            started = time.perf_counter()
            for steps, totals in self.engine.steps(self._plan()):
                now = time.perf_counter()
                self._skipped += totals.skipped
                state.add_steps(steps, totals.loss_sum, totals.correct, totals.images, now - started)
                self._report_steps(steps)
                started = time.perf_counter()
            if every and self.step % every == 0:
                self._save(self.folder.last)

    def _plan(self) -> Iterator[Step]:
        """Yield steps until the epoch ends, a stop is requested, or a checkpoint is due."""
        training, epoch, first = self.recipe.training, self.state.epoch, self.state.step
        every, before = training.checkpoint_every_steps, self.state.epoch * self.steps_per_epoch
        order = self.train_indices[epoch_order(training.seed, epoch, len(self.train_indices))]
        for step in range(first, self.steps_per_epoch):
            if self._stop_requested():
                return
            indices = order[step * training.batch_size : (step + 1) * training.batch_size]  # (B,)
            mixed = before + step < (1 - self.recipe.augmentation.mixing_off) * self.total_steps
            yield Step(indices, epoch, step, self.schedule(before + step), mixed)
            if every and (before + step + 1) % every == 0:
                return

    def _end_epoch(self) -> bool:
        """Validate after an epoch, write its row and save; returns False when a stop was requested during validation.

        The row is written before the checkpoint. After a crash between the two, the resumed run repeats the epoch.
        """
        state = self.state
        row: Row = {
            "epoch": state.epoch + 1,
            "train_loss": state.loss_sum / state.images,
            "train_accuracy": state.correct / state.images,
        }
        validation = None
        if len(self.validation_indices):
            validation = self._evaluate("validation")
            if validation is None:
                return False
            row |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        row |= {
            "images_per_second": state.images / state.train_seconds,
            "seconds": self.seconds - state.epoch_started,
            "learning_rate": self.schedule(self.step - 1),
        }
        if state.end_epoch(validation, self.seconds):
            self._save(self.folder.best)
        self.ranks.first(lambda: append_row(self.folder.metrics, row, self._say_once))
        self.rows.append(row)
        require_same_weights(self.ranks, self.model, self.step)
        self._save(self.folder.last)
        self.progress.on_epoch(row)
        if time.perf_counter() - self._pictured > SECONDS_BETWEEN_PICTURES:
            self._draw_curves()
        return True

    def _evaluate(self, part: str) -> Evaluation | None:
        """Evaluate on the "validation" or "test" images; None when a stop was requested before the end."""
        data, size = self.dataset, self.recipe.training.eval_batch_size
        images, labels, indices = (
            (data.test_images, data.test_labels, None)
            if part == "test"
            else (data.train_images, data.train_labels, self.validation_indices)
        )
        found = evaluate(
            self.engine, images, labels, data.mean, data.std, size, self._asked_to_stop, indices, self.ranks
        )
        self._pass_on_note()
        if found is not None and not math.isfinite(found.loss):
            raise TrainingError(
                f"the {part} loss became {found.loss} after step {self.step}: try a lower learning_rate"
            )
        return found

    # ------------------------------------------------------------------------------------------------------- the test

    def _is_tested(self) -> bool:
        return not len(self.dataset.test_images) or not self.rows or is_tested(self.rows[-1])

    def _test(self) -> bool:
        """Evaluate the recommended checkpoint on the test images, once; False when a stop was requested meanwhile."""
        if self._is_tested():
            return True
        parameters, which = self.model.parameters, self.state.recommended
        last = parameters.to_numpy(), parameters.buffers_to_numpy()
        if which == "best":
            best = self.ranks.first(lambda: load_checkpoint(self.folder.best))
            self._load(best.parameters, best.buffers)
        try:
            evaluation = self._evaluate("test")
        finally:
            self._load(*last)
        if evaluation is None:
            return False
        self.rows[-1] |= {
            "test_loss": evaluation.loss,
            "test_accuracy": evaluation.accuracy,
            "test_interval": list(evaluation.interval),
            "test_images": len(self.dataset.test_images),
            "tested": which,
        }
        self.ranks.first(lambda: write_rows(self.folder.metrics, self.rows, self._say_once))
        return True

    def _load(self, parameters: Any, buffers: Any) -> None:
        self.model.parameters.load(parameters)
        self.model.parameters.load_buffers(buffers)
        self.engine.refresh()

    # -------------------------------------------------------------------------------------- messages and checkpoints

    def _report_steps(self, steps: int) -> None:
        state = self.state
        self._steps_here += steps
        seconds_per_step = (self.seconds - self._seconds_before) / self._steps_here
        self._pass_on_note()
        self.progress.on_step(
            self.step,
            state.loss_sum / state.images,
            state.correct / state.images,
            state.images / state.train_seconds,
            (self.total_steps - self.step) * seconds_per_step,
        )

    def _pass_on_note(self) -> None:
        if self.engine.note:
            self._say_once(self.engine.note)

    def _say_once(self, sentence: str) -> None:
        """Pass a sentence to `progress.on_note`, unless it was passed before."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.progress.on_note(sentence)

    def _save(self, path: Path) -> None:
        self.state.elapsed_seconds = self.seconds
        self.ranks.first(lambda: self._write_checkpoint(path))

    def _write_checkpoint(self, path: Path) -> None:
        parameters, state = self.model.parameters, dataclasses.replace(self.state)
        checkpoint = Checkpoint(
            self.recipe,
            state,
            parameters.to_numpy(),
            self.optimizer.state_dict(),
            parameters.buffers_to_numpy(),
            self.dataset.description,
            history=self.rows[: state.epoch],
            arithmetic=arithmetic_of(self.engine, self.ranks),
            engine=self._engine_state(),
        )
        if path == self.folder.last:
            self.folder.keep_last_as_previous()
        save_checkpoint(path, checkpoint, self._say_once)

    def _engine_state(self) -> dict[str, np.ndarray]:
        state = self.engine.state_dict()
        return state | {"skipped": np.array(self._skipped, np.int64)} if self._skipped or state else state

    def _restore(self) -> None:
        """Go back to the newest checkpoint; a run that was killed before its first one starts at the beginning."""
        folder = self.folder
        checkpoint = self.ranks.first(lambda: newest_checkpoint(folder, self._say_once))
        if checkpoint is not None:
            require_same_run(checkpoint.recipe, self.recipe, folder.path)
            require_same_data(checkpoint.data, self.dataset.description, folder.path)
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self._load(checkpoint.parameters, checkpoint.buffers)
            self.state = checkpoint.state
            self.engine.load_state_dict(checkpoint.engine)
            skipped = checkpoint.engine.get("skipped")
            self._skipped = self.step - self.optimizer.steps
            expected = self._skipped >= 0 if skipped is None and self._may_skip() else self._skipped == (skipped or 0)
            if self.state.step > self.steps_per_epoch or not expected:
                raise CheckpointError(
                    f"the checkpoint in {folder.path} is damaged: it stands after step {self.state.step} of epoch "
                    f"{self.state.epoch + 1}, of {self.steps_per_epoch} steps each, and its optimizer after step "
                    f"{self.optimizer.steps}"
                )
            if sentence := other_arithmetic(checkpoint.arithmetic, arithmetic_of(self.engine, self.ranks)):
                self._say_once(sentence)
        history = checkpoint.history if checkpoint else None
        self.rows = self.ranks.first(lambda: self._mend_folder(history))
        self._clock_started, self._seconds_before = time.perf_counter(), self.state.elapsed_seconds
        if self.step < self.total_steps:
            where = f"step {self.step} of {self.total_steps} (epoch {self.state.epoch + 1})"
            self.progress.on_note(f"resuming after {where}")

    def _mend_folder(self, history: list[Row] | None) -> list[Row]:
        self.folder.clean_up()
        rows = mend_rows(self.folder.metrics, history, self.state.epoch, self._say_once)
        self.folder.write_config(self.recipe, self.dataset.description)
        return rows

    def _may_skip(self) -> bool:
        """Whether a step's update may have been left out: float16 does that where a gradient overflows."""
        return self.recipe.training.precision == "float16"

    def _draw_curves(self) -> None:
        self._pictured = time.perf_counter()
        if not self.rows or self.ranks.rank:
            return
        try_to_draw_curves(self.recipe.name, self.rows, self.folder.curves, self._say_once)

    def _end(self, status: str) -> TrainingResult:
        if status != "already finished":
            self._draw_curves()
        result = make_result(self, status, self.ranks.gather(self.stop.signal))
        self.progress.on_end(result)
        return result
