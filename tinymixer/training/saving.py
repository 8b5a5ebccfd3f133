"""Saves a trainer's run as a checkpoint, and restores it from the newest one."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.errors import CheckpointError
from tinymixer.optim import WeightAverage
from tinymixer.training.arithmetic import arithmetic_of, other_arithmetic
from tinymixer.training.checkpoint import Checkpoint, save_checkpoint
from tinymixer.training.clock import RunClock
from tinymixer.training.history import Row, mend_rows
from tinymixer.training.other_weights import load_weights
from tinymixer.training.resume import newest_checkpoint
from tinymixer.training.run_folder import require_same_data, require_same_run

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer


def save_run(trainer: "Trainer", path: Path) -> None:
    """Write all that the run needs to go on exactly. Rank 0 writes; together.

    Raises CheckpointError where it cannot be written; the old file then stays.
    """
    trainer.state.elapsed_seconds = trainer.clock.seconds
    trainer.ranks.first(lambda: _write_checkpoint(trainer, path))


def _write_checkpoint(trainer: "Trainer", path: Path) -> None:
    parameters, state = trainer.model.parameters, dataclasses.replace(trainer.state)
    checkpoint = Checkpoint(
        trainer.recipe,
        state,
        parameters.to_numpy(),
        trainer.optimizer.state_dict(),
        parameters.buffers_to_numpy(),
        trainer.dataset.description,
        history=trainer.rows[: state.epoch],
        arithmetic=arithmetic_of(trainer.engine, trainer.ranks),
        engine=_engine_state(trainer),
        average=trainer.average.state_dict() if trainer.average is not None else {},
    )
    trainer.step_rows.sync()
    if path == trainer.folder.last:
        trainer.folder.keep_last_as_previous()
    save_checkpoint(path, checkpoint, trainer.reports.say_once)


def _engine_state(trainer: "Trainer") -> dict[str, np.ndarray]:
    state, skipped = trainer.engine.state_dict(), trainer.skipped
    return state | {"skipped": np.array(skipped, np.int64)} if skipped or state else state


def restore_run(trainer: "Trainer") -> None:
    """Go back to the newest checkpoint; a run that was killed before its first one starts at the beginning.

    Raises CheckpointError where no checkpoint can be used, and TrainingError where it is of another run.
    """
    folder, say = trainer.folder, trainer.reports.say_once
    checkpoint = trainer.ranks.first(lambda: newest_checkpoint(folder, say))
    if checkpoint is not None:
        _take_over(trainer, checkpoint)
    history = checkpoint.history if checkpoint else None
    trainer.rows = trainer.ranks.first(lambda: _mend_folder(trainer, history))
    trainer.clock = RunClock(trainer.state.elapsed_seconds)
    if trainer.step < trainer.total_steps:
        where = f"step {trainer.step} of {trainer.total_steps} (epoch {trainer.state.epoch + 1})"
        trainer.progress.on_note(f"resuming after {where}")


def _take_over(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights and states, and check that they belong together."""
    folder, engine = trainer.folder.path, trainer.engine
    require_same_run(checkpoint.recipe, trainer.recipe, folder)
    require_same_data(checkpoint.data, trainer.dataset.description, folder)
    trainer.optimizer.load_state_dict(checkpoint.optimizer)
    load_weights(trainer, checkpoint.parameters, checkpoint.buffers)
    trainer.state = state = checkpoint.state
    engine.load_state_dict(checkpoint.engine)
    skipped = checkpoint.engine.get("skipped")
    trainer.skipped = trainer.step - trainer.optimizer.steps
    may_skip = trainer.recipe.training.precision == "float16"  # it leaves out an update where a gradient overflows
    expected = trainer.skipped >= 0 if skipped is None and may_skip else trainer.skipped == (skipped or 0)
    steps_of_epoch = trainer.length.steps_in(state.epoch)
    if state.step > steps_of_epoch or not expected:
        raise CheckpointError(
            f"the checkpoint in {folder} is damaged: it stands after step {state.step} of epoch {state.epoch + 1}, of "
            f"{steps_of_epoch} steps, and its optimizer after step {trainer.optimizer.steps}"
        )
    if trainer.average is not None:
        _restore_average(trainer.average, checkpoint, trainer.optimizer.steps, folder)
    trainer.reports.say_once(other_arithmetic(checkpoint.arithmetic, arithmetic_of(engine, trainer.ranks)))


def _restore_average(average: WeightAverage, checkpoint: Checkpoint, steps: int, folder: Path) -> None:
    """Load the average, which must have been updated as often as so many steps ask for."""
    average.load_state_dict(checkpoint.average)
    if average.updates != steps // average.every:
        raise CheckpointError(
            f"the checkpoint in {folder} is damaged: its weights were averaged {average.updates} times in {steps} "
            f"steps, expected {steps // average.every} (ema_every = {average.every})"
        )


def _mend_folder(trainer: "Trainer", history: list[Row] | None) -> list[Row]:
    folder, say = trainer.folder, trainer.reports.say_once
    folder.clean_up()
    rows = mend_rows(folder.metrics, history, trainer.state.epoch, say, trainer.step)
    folder.write_config(trainer.recipe, trainer.dataset.description)
    return rows
