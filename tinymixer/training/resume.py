"""What resuming needs of a run's folder: its newest usable checkpoint, and the precision that it was begun in."""

import dataclasses
from pathlib import Path

from tinymixer.errors import CheckpointError
from tinymixer.files import Say, rename
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.recipe import Recipe
from tinymixer.training.run_folder import RunFolder


def newest_checkpoint(folder: RunFolder, say: Say) -> Checkpoint | None:
    """Load last.npz; where it is damaged or missing, tell `say` and load previous.npz.

    Returns None for a run that was killed before it saved a checkpoint. Raises CheckpointError where no checkpoint can
    be used, and for one of format 1, whose random numbers this version cannot draw.
    """
    problem: CheckpointError | None = None
    for path in (folder.last, folder.previous):
        if not path.exists():
            problem = problem or CheckpointError(f"{path} is missing")
            continue
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            problem = error if problem is None or path == folder.last else problem
            continue
        if checkpoint.format == 1:
            raise CheckpointError(
                f"{path} was written by an earlier version, whose random numbers this one does not draw, so the run "
                f"cannot go on exactly: evaluate it, or begin a new run with its weights (--init-from {folder.path})"
            )
        if path == folder.previous:
            say(f"{problem}. Going on from {path}, the checkpoint before")
            _set_aside(folder)
        return checkpoint
    if folder.last.exists() and problem is not None:
        raise problem
    if folder.best.exists() or folder.previous.exists() or folder.metrics.exists():
        raise CheckpointError(f"{folder.last} is missing, so the run cannot go on: put it back, or start a new run")
    return None


def _set_aside(folder: RunFolder) -> None:
    """Rename a damaged last.npz, so that it is not lost and does not become the next previous.npz."""
    if folder.last.exists():
        try:
            rename(folder.last, folder.path / "last.damaged.npz")
        except OSError as error:
            raise CheckpointError(
                f"{folder.last} is damaged and cannot be renamed ({error.strerror or error}): move it away"
            ) from error


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """The recipe with the precision that an engine computes in, in place of "auto" or of one that it lacks."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, precision=precision))


def with_recorded_steps(recipe: Recipe, folder: str | Path) -> Recipe:
    """A recipe for resuming the run in `folder`: the steps that were found to fit into its seconds are kept."""
    training = recipe.training
    if training.steps or not training.seconds or not RunFolder(folder).config.is_file():
        return recipe
    began = RunFolder(folder).read_config().training
    fitted = began.steps if began.seconds == training.seconds else 0
    return dataclasses.replace(recipe, training=dataclasses.replace(training, steps=fitted))


def with_recorded_precision(recipe: Recipe, folder: str | Path) -> Recipe:
    """A recipe for resuming the run in `folder`: "auto" means the precision that the run was begun in."""
    if recipe.training.precision != "auto" or not RunFolder(folder).config.is_file():
        return recipe
    return with_precision(recipe, RunFolder(folder).read_config().training.precision)
