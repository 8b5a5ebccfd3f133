"""`Trainer`: runs the epochs of a training run, validates and saves after each, and tests at the end."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

from tinymixer.data import Dataset
from tinymixer.engines import Step, choose_engine
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.models import Model
from tinymixer.parallel.ranks import ONE_RANK, Ranks
from tinymixer.training.budget import Budget, SavingPace
from tinymixer.training.build import (
    build_model,
    make_average,
    make_optimizer,
    require_batch,
    schedule_of,
    whole_batch_note,
    work_of,
)
from tinymixer.training.clock import RunClock
from tinymixer.training.evaluate import Evaluation, evaluate
from tinymixer.training.final_test import final_test, nothing_to_test
from tinymixer.training.fine_tuning import choose_start, start_with
from tinymixer.training.history import Row, append_row
from tinymixer.training.length import RunLength, shortened_warmup
from tinymixer.training.measuring import fit_to_budget
from tinymixer.training.memory import out_of_memory
from tinymixer.training.notebook import default_progress
from tinymixer.training.other_weights import averaged_weights
from tinymixer.training.parts import frozen_words
from tinymixer.training.plan import planned_steps
from tinymixer.training.prepare import prepare
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe
from tinymixer.training.reports import Reports
from tinymixer.training.result import TrainingResult, make_result
from tinymixer.training.resume import with_precision
from tinymixer.training.run_folder import RunFolder
from tinymixer.training.run_state import RunState, what_is_missing
from tinymixer.training.saving import restore_run, save_run
from tinymixer.training.sharing import (
    folder_on_first_rank,
    options_on_this_rank,
    require_as_many_images,
    require_same_run_everywhere,
    require_same_weights,
    take_device,
)
from tinymixer.training.step_rows import StepRows
from tinymixer.training.stop import StopSignals
from tinymixer.training.whitening import whiten_stem


class Trainer:
    """Trains a model by a recipe into a run folder.

    recipe      what to train, and how
    out         the run folder; None takes the first free of runs/NAME, runs/NAME-2, ...
    dataset     the images; None loads the recipe's
    progress    receives the run's progress and can stop it; None shows a bar in a notebook and nothing elsewhere
    resume      continue the run in `out` from its last checkpoint, exactly
    model       your own model instead of the recipe's; training starts from its weights
    init_from   start from the weights of a run, a checkpoint, a file, or of a name ("first-mixer"): arrays of the same
                name and shape are loaded, averaged where there is an average; the others are named in a note. "none"
                starts from scratch; None leaves it to the recipe, or to `model` where you give one.
                `recipe.fine_tuning` says how sizes and head are chosen
    ranks       the processes that train together (`tinymixer.parallel.launched_ranks`), each with a Trainer of its own.
                Rank 0's alone writes into the folder; give the others' a `Progress()`, which is silent
    started     for `[training] seconds`: when the command began, by `time.perf_counter()`; None: now

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
        started: float | None = None,
    ) -> None:
        started = time.perf_counter() if started is None else started
        if resume and out is None:
            raise TrainingError("to resume a run, say in which folder it is: --out FOLDER")
        if resume and init_from is not None:
            raise ConfigError("--resume goes on with a run's own weights: leave --init-from out, or start a new run")
        self.ranks, self.progress = ranks, progress or default_progress()
        self.reports = Reports(self.progress)
        say = self.reports.say_once
        self.resume = resume
        weights = choose_start(recipe, init_from, has_weights=resume or model is not None)
        recipe, self.dataset = prepare(recipe, dataset, model, weights, out if resume else None, ranks, say)
        training, images = recipe.training, self.dataset
        self.train_indices, self.validation_indices = images.split(recipe.data.validation_share, training.seed)
        require_batch(recipe, images, len(self.train_indices))
        require_as_many_images(ranks, training.batch_size)
        take_device(ranks, training)
        self.model = model or build_model(recipe)
        self.backend = self.model.backend
        whiten_stem(self.model, images, self.train_indices, training.seed, ranks, say, own_model=model is not None)
        if not resume:
            recipe = start_with(self.model, weights, recipe, images.class_names, say, asked=init_from is not None)
        self.optimizer = make_optimizer(recipe, self.model.parameters)
        if frozen := frozen_words(self.optimizer.groups, self.model.parameters):
            say(frozen)
        if note := whole_batch_note(self.model, training.micro_batches):
            say(note)
        self.average = make_average(recipe, self.model.parameters)
        self.steps_per_epoch = len(self.train_indices) // training.batch_size
        self.follow(recipe)
        work = work_of(recipe, images, ranks, self.average)
        require_same_run_everywhere(ranks, recipe, images.description, self.model)
        self.engine = choose_engine(self.model, options_on_this_rank(ranks, training), work, self.optimizer)
        if not resume:
            recipe = with_precision(recipe, self.engine.precision)
        self.recipe = recipe
        to_be_fitted = training.seconds and not training.steps
        self.budget = Budget(training.seconds, started) if to_be_fitted else None  # until its steps are known
        self.pace = SavingPace(limited=bool(training.seconds))
        self.state = RunState(validation_images=len(self.validation_indices))
        self.folder = folder_on_first_rank(
            ranks,
            lambda: (
                RunFolder.reopen(recipe, out, images.description, say)
                if resume and out
                else RunFolder.create(recipe, out, images.description, say)
            ),
        )
        self.rows: list[Row] = []  # of metrics.jsonl, of epochs
        self.step_rows = StepRows(training.step_rows, self.folder.metrics, say)
        self.clock = RunClock()
        self.skipped = 0  # steps of the whole run whose update was left out

    @property
    def seconds(self) -> float:
        """Training time of the run, including the time before it was resumed."""
        return self.clock.seconds

    @property
    def step(self) -> int:
        """Steps done in the whole run."""
        return self.length.steps_before(self.state.epoch) + self.state.step

    def follow(self, recipe: Recipe) -> None:
        """Take over a recipe, with the run's length and learning rates.

        Where the recipe gives seconds, both are provisional until `run` has measured how many steps fit.
        """
        self.recipe, self.length = recipe, RunLength.of(recipe, self.steps_per_epoch)
        self.total_steps, self.schedule = self.length.steps, schedule_of(recipe, self.steps_per_epoch)

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
        if self.resume:
            restore_run(self)
        if self.budget is not None and not fit_to_budget(self, self.budget):
            return self._end("interrupted")
        if not self.resume:
            self._save(self.folder.last)
        if self._is_over() and nothing_to_test(self):
            return self._end("already finished")
        self.progress.on_start(self)
        self.reports.say_once(self.engine.note)
        self.reports.say_once(shortened_warmup(self.recipe, self.length))
        for note in what_is_missing(self.dataset, len(self.validation_indices)):
            self.progress.on_note(note)
        while not self._is_over():
            self._train_epoch()
            if self.stop_requested() or not self._end_epoch():
                self._save(self.folder.last)
                return self._end("interrupted")
        return self._end("finished" if final_test(self) else "interrupted")

    def asked_to_stop(self) -> bool:
        """Whether this process was asked to stop."""
        return self.stop.requested() or self.progress.stop_requested

    def stop_requested(self) -> bool:
        """Whether the run is to stop: all ranks answer the same, after the same step."""
        return self.ranks.stop_agreed(self.asked_to_stop())

    # --------------------------------------------------------------------------------------------------------- epochs

    def _is_over(self) -> bool:
        training, state = self.recipe.training, self.state
        stopped_early = training.patience and state.epochs_without_progress() >= training.patience
        return state.epoch >= self.length.epochs or bool(stopped_early)

    def _train_epoch(self) -> None:
        """Take the remaining steps of the current epoch; stop early when a stop is requested."""
        state, every = self.state, self.recipe.training.checkpoint_every_steps
        while state.step < self.length.steps_in(state.epoch) and not self.stop_requested():
            started = time.perf_counter()
            for steps, totals in self.engine.steps(self._plan()):
                now = time.perf_counter()
                self.skipped += totals.skipped
                state.add_steps(steps, totals.loss_sum, totals.correct, totals.images, now - started)
                self.step_rows.steps(self, steps, totals, now - started)
                self.reports.steps(self, steps)
                started = time.perf_counter()
            if every and self.step % every == 0:
                self._save(self.folder.last)

    def _plan(self) -> Iterator[Step]:
        """Yield steps until the epoch ends, a stop is requested, or a checkpoint is due."""
        training, state, first = self.recipe.training, self.state, self.step
        every = training.checkpoint_every_steps
        mixed = (1 - self.recipe.augmentation.mixing_off) * self.total_steps
        steps = planned_steps(self.train_indices, training.batch_size, training.seed, self.schedule, first, mixed)
        for number in range(first, first + self.length.steps_in(state.epoch) - state.step):
            if self.stop_requested():
                return
            yield next(steps)
            if every and (number + 1) % every == 0:
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
            with averaged_weights(self):
                validation = self.evaluate("validation")
            if validation is None:
                return False
            row |= {"validation_loss": validation.loss, "validation_accuracy": validation.accuracy}
        if self.average is not None:
            row["averaged"] = True  # the weights that were validated, and will be tested
        row |= {
            "images_per_second": state.images / state.train_seconds,
            "seconds": self.seconds - state.epoch_started,
            "learning_rate": self.schedule(self.step - 1),
        }
        if state.end_epoch(validation, self.seconds):
            self._save(self.folder.best)
        self.ranks.first(lambda: append_row(self.folder.metrics, row, self.reports.say_once))
        self.rows.append(row)
        require_same_weights(self.ranks, self.model, self.step, self.average)
        if self._is_over() or not self.pace.limited or self.ranks.first(self.pace.is_due):
            self._save(self.folder.last)
        self.progress.on_epoch(row)
        self.reports.draw_curves_if_due(self)
        return True

    def evaluate(self, part: str) -> Evaluation | None:
        """Evaluate the model, with the weights that it has, on the "validation" or "test" images.

        None when a stop was requested before the end.
        """
        data, size = self.dataset, self.recipe.training.eval_batch_size
        images, labels, indices = (
            (data.test_images, data.test_labels, None)
            if part == "test"
            else (data.train_images, data.train_labels, self.validation_indices)
        )
        found = evaluate(
            self.engine, images, labels, data.mean, data.std, size, self.asked_to_stop, indices, self.ranks
        )
        self.reports.say_once(self.engine.note)
        if found is not None and not math.isfinite(found.loss):
            raise TrainingError(
                f"the {part} loss became {found.loss} after step {self.step}: try a lower learning_rate"
            )
        return found

    def _save(self, path: Path) -> None:
        with self.pace.saving():
            save_run(self, path)

    def _end(self, status: str) -> TrainingResult:
        if status != "already finished":
            self.reports.draw_curves(self)
        if self.budget is not None and status == "finished":
            self.progress.on_note(self.budget.how_it_was_met())
        result = make_result(self, status, self.ranks.gather(self.stop.signal))
        self.progress.on_end(result)
        return result
