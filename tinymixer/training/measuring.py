"""Measures what a run's parts cost, on the engine, the images and the disk that it will use, and leaves no trace."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.engines import Step
from tinymixer.errors import TrainingError
from tinymixer.files import SUFFIX
from tinymixer.training.budget import Budget, Costs
from tinymixer.training.clock import RunClock
from tinymixer.training.evaluate import evaluate
from tinymixer.training.history import append_row
from tinymixer.training.other_weights import averaged_weights
from tinymixer.training.pictures import try_to_draw_curves
from tinymixer.training.plan import planned_steps
from tinymixer.training.run_state import FEW_IMAGES
from tinymixer.training.saving import save_run

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer

WARM_UP = 5  # steps before the measured ones: buffers are made, a GPU's step is recorded
STEPS = 20  # measured, at least
SHARE = 0.01  # of the budget that may be spent on more steps where they are short
MOST_STEPS = 2000
BATCHES = 16  # of evaluation
ROW = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.5}


def fit_to_budget(trainer: "Trainer", budget: Budget) -> bool:
    """Give the run the number of steps that fits into its budget, and write it into config.toml. Together.

    Returns False when a stop was requested meanwhile. Raises TrainingError where not even one step fits; a new run then
    leaves no folder behind.
    """
    costs = measure(trainer, budget)
    if costs is None:
        return False
    recipe, per_epoch = trainer.recipe, trainer.steps_per_epoch
    try:
        steps = trainer.ranks.first(lambda: budget.steps(costs, per_epoch))
    except TrainingError:
        trainer.ranks.first(trainer.folder.give_up)
        raise
    trainer.follow(replace(recipe, training=replace(recipe.training, steps=steps)))
    trainer.ranks.first(lambda: trainer.folder.write_config(trainer.recipe, trainer.dataset.description))
    trainer.reports.say_once(budget.sentence(costs, steps, per_epoch))
    trainer.clock = RunClock()
    return True


def measure(trainer: "Trainer", budget: Budget) -> Costs | None:
    """What the parts of the run cost; None when a stop was requested meanwhile. Together.

    The learning rate is 0, so no step can diverge, and at the end weights, buffers, averages and the states of
    optimizer and engine are what they were. Random numbers go by epoch and step, so none are used up.
    """
    training, validated = trainer.recipe.training, len(trainer.validation_indices)
    with unchanged(trainer):
        step = _seconds_of_a_step(trainer, budget)
        if step is None:
            return None
        image = _seconds_of_an_evaluated_image(trainer, budget)
        if image is None:
            return None
    save, picture = _seconds_to_write(trainer, budget)
    tests_best = validated >= FEW_IMAGES  # then best.npz is read for the test
    return Costs(
        step,
        validate=validated * image,
        save=save,
        best=bool(validated),
        every=training.checkpoint_every_steps,
        picture=picture,
        test=len(trainer.dataset.test_images) * image + tests_best * save,
    )


@contextlib.contextmanager
def unchanged(trainer: "Trainer") -> Iterator[None]:
    """After the block, weights, buffers, averages, and the states of optimizer and engine are those before it."""
    parameters, optimizer, engine = trainer.model.parameters, trainer.optimizer, trainer.engine
    average = trainer.average
    vectors = parameters.values.copy(), parameters.buffers.copy()
    states = optimizer.state_dict(), engine.state_dict(), None if average is None else average.state_dict()
    try:
        yield
    finally:
        parameters.values[...], parameters.buffers[...] = vectors
        optimizer.load_state_dict(states[0])
        if average is not None and states[2] is not None:
            average.load_state_dict(states[2])
        engine.refresh()
        engine.load_state_dict(states[1])


def _seconds_of_a_step(trainer: "Trainer", budget: Budget) -> float | None:
    """Mean time of some steps, after others to warm up; None when a stop was requested.

    At least `STEPS` are measured; short ones are repeated for `SHARE` of the budget, since a pause of the machine
    would count for too much in 20 steps of a millisecond.
    """
    if _seconds_of_steps(trainer, budget, 0, WARM_UP) is None:
        return None
    seconds = _seconds_of_steps(trainer, budget, WARM_UP, STEPS)
    if seconds is None:
        return None
    few = seconds
    more = trainer.ranks.first(lambda: _further_steps(SHARE * budget.seconds, few))
    rest = _seconds_of_steps(trainer, budget, WARM_UP + STEPS, more)
    return None if rest is None else max(1e-9, (seconds + rest) / (STEPS + more))


def _further_steps(seconds: float, taken: float) -> int:
    """How many more steps to measure in so many seconds, after `STEPS` that took `taken`."""
    return min(MOST_STEPS, max(0, math.ceil(STEPS * seconds / max(taken, 1e-9)) - STEPS))


def _seconds_of_steps(trainer: "Trainer", budget: Budget, first: int, count: int) -> float | None:
    started = budget.clock()
    done = sum(steps for steps, _ in trainer.engine.steps(_plan(trainer, first, count)))
    return budget.clock() - started if done == count else None


def _plan(trainer: "Trainer", first: int, count: int) -> Iterator[Step]:
    """The run's own steps from `first` on, with its own batches, at a learning rate of 0."""
    training = trainer.recipe.training
    steps = planned_steps(trainer.train_indices, training.batch_size, training.seed, lambda number: 0.0, first)
    for _ in range(count):
        if trainer.stop_requested():
            return
        yield next(steps)


def _seconds_of_an_evaluated_image(trainer: "Trainer", budget: Budget) -> float | None:
    """Time of evaluating an image, measured on training images; None when a stop was requested, 0 for none to do.

    The test images are looked at once, at the end, so here others take their place.
    """
    data, size = trainer.dataset, trainer.recipe.training.eval_batch_size
    largest = max(len(trainer.validation_indices), len(data.test_images))
    count = min(largest, BATCHES * size, len(data.train_images))
    if not count:
        return 0.0
    for images in (min(count, size), count):  # the first to warm up
        started = budget.clock()
        with averaged_weights(trainer):
            found = evaluate(
                trainer.engine, data.train_images, data.train_labels, data.mean, data.std, size, trainer.asked_to_stop,
                np.arange(images), trainer.ranks,
            )  # fmt: skip
        seconds = budget.clock() - started
        if found is None:
            return None
    return seconds / count


def _seconds_to_write(trainer: "Trainer", budget: Budget) -> tuple[float, float]:
    """Times of writing a checkpoint with its row, and of drawing the curves: the second time, when all is loaded."""
    ranks, say = trainer.ranks, trainer.reports.say_once
    paths = [trainer.folder.path / f".measured-{name}{SUFFIX}" for name in ("checkpoint", "rows", "curves.png")]
    seconds = [0.0, 0.0]
    try:
        for _ in range(2):
            started = budget.clock()
            save_run(trainer, paths[0])
            ranks.first(lambda: append_row(paths[1], ROW, say))
            written = budget.clock()
            ranks.first(lambda: try_to_draw_curves(trainer.recipe.name, [ROW], paths[2], say))
            seconds = [written - started, budget.clock() - written]
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return seconds[0], seconds[1]
