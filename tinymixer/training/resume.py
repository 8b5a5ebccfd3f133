"""Going back to where a run stands: its newest checkpoint that can be used."""

from tinymixer.errors import CheckpointError
from tinymixer.files import Say, rename
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.run_folder import RunFolder


def newest_checkpoint(folder: RunFolder, say: Say) -> Checkpoint | None:
    """The run's last checkpoint, or the one before where that is damaged or missing, which is said.

    None for a run that was killed before its first one. Raises CheckpointError where none that was kept can be used,
    and for one of format 1, whose random numbers this version does not draw.
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
    """Give a damaged last.npz another name, so that it is neither lost nor kept as the next previous.npz."""
    if folder.last.exists():
        try:
            rename(folder.last, folder.path / "last.damaged.npz")
        except OSError as error:
            raise CheckpointError(
                f"{folder.last} is damaged and cannot be renamed ({error.strerror or error}): move it away"
            ) from error
