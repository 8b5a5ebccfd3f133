"""Shows a training run: a live bar in a terminal, and a line for each epoch everywhere."""

import contextlib
import math
import sys
from typing import TYPE_CHECKING, Any

from tinymixer.cli.live_bar import LiveBar
from tinymixer.cli.output import duration, print_labelled, tell, wrapped
from tinymixer.text import counted
from tinymixer.training.progress import Progress

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer, TrainingResult


class TrainingDisplay(LiveBar, Progress):
    """Prints an introduction and one line per epoch on standard output, and shows a live bar on standard error.

    The bar appears only where standard error is a terminal; a file or a pipe never gets a carriage return.
    quiet: notes alone; silent: not even those, as on all ranks but the first.
    """

    def __init__(self, quiet: bool = False, silent: bool = False) -> None:
        self.quiet, self.silent = quiet or silent, silent
        self.epochs = self.steps_per_epoch = 0
        self.best = math.inf  # the lowest validation loss

    def on_start(self, trainer: "Trainer") -> None:
        self.epochs, self.steps_per_epoch = trainer.length.epochs, trainer.steps_per_epoch
        self.best = trainer.state.best_loss if trainer.state.best_epoch else math.inf
        if self.quiet:
            return
        print_labelled(introduction(trainer), print_line=tell)
        tell(f"\n{EPOCH_HEADER}")
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=trainer.total_steps,
                initial=trainer.step,
                bar_format=self._bar_format(trainer.step, "starting"),
                dynamic_ncols=True,
                leave=False,
            )

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        if self.bar is None:
            return
        state = (
            f"loss {loss:.3f}  {100 * accuracy:.1f}%  {images_per_second:,.0f} images/s  {duration(seconds_left)} left"
        )
        try:
            self.bar.bar_format = self._bar_format(step - 1, state)
            self.bar.update(step - self.bar.n)
        except (OSError, ValueError):  # the terminal is gone
            self.bar = None

    def on_epoch(self, row: dict[str, Any]) -> None:
        loss = row.get("validation_loss", math.inf)
        note = "best" if loss < self.best else ""
        self.best = min(self.best, loss)
        if not self.quiet:
            self._say(epoch_line(row, self.epochs, note))

    def on_note(self, text: str) -> None:
        self._say(wrapped(text, to_stderr=True), to_stderr=True)

    def on_end(self, result: "TrainingResult") -> None:
        self.close()

    def _bar_format(self, step: int, state: str) -> str:
        """tqdm's format during step `step` (counted from 0): epoch, share of the run, bar, state."""
        epoch = min(step // self.steps_per_epoch + 1, self.epochs)
        return f"epoch {epoch}/{self.epochs} {{percentage:3.0f}}%|{{bar}}| {state}"

    def _say(self, text: str, to_stderr: bool = False) -> None:
        """Print a line above the bar."""
        if self.silent:
            return
        with contextlib.suppress(OSError, ValueError):
            if self.bar is not None:
                self.bar.clear()
        tell(text, to_stderr)
        with contextlib.suppress(OSError, ValueError):
            if self.bar is not None:
                self.bar.refresh()


def introduction(trainer: "Trainer") -> dict[str, str]:
    """Labelled lines about a run: its model, data, number of epochs, engine and folder."""
    recipe, dataset, backend = trainer.recipe, trainer.dataset, trainer.backend
    training, side = recipe.training, dataset.image_size
    kept = f"{len(trainer.validation_indices):,} validation and " if len(trainer.validation_indices) else ""
    return {
        "recipe": f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        "model": f"{recipe.architecture}, {counted(trainer.model.parameters.count, 'parameter')}{_sizes(recipe.model)}",
        "data": f"{dataset.name}, {len(trainer.train_indices):,} training, {kept}{len(dataset.test_images):,} test "
        f"images, {side} x {side} in {dataset.colours}, {counted(dataset.num_classes, 'class')}",
        "steps": f"{trainer.length}, {counted(training.batch_size, 'image')} each",
        **_average(trainer),
        "backend": f"{backend.name}, {training.dtype} ({backend.reason})",
        "engine": f"{trainer.engine.name}: {trainer.engine.description}{_why_no_faster(trainer)}",
        **_ranks(trainer),
        "folder": f"{trainer.folder.path} (Ctrl-C stops there and saves)",
    }


def _why_no_faster(trainer: "Trainer") -> str:
    """Why a run on the reference engine did not get the fast one for its array library; "" for any other run."""
    faster = "cuda" if trainer.backend.name == "cupy" else "cpu"
    reason = trainer.engine.passed_over.get(faster) if trainer.engine.name == "reference" else None
    return f" (not the {faster} engine: {reason})" if reason else ""


def _ranks(trainer: "Trainer") -> dict[str, str]:
    """A line about the processes that train together; none where there is one."""
    ranks, batch = trainer.ranks, trainer.recipe.training.batch_size
    if ranks.size == 1:
        return {}
    there = "on this machine" if ranks.local_size == ranks.size else f"{ranks.local_size} of them on this machine"
    return {"ranks": f"{ranks.size}, {there}, {batch / ranks.size:g} images of a step each"}


def _average(trainer: "Trainer") -> dict[str, str]:
    """A line about the average of the weights; none where the run does not average them."""
    if (average := trainer.average) is None:
        return {}
    every = "every step" if average.every == 1 else f"every {average.every} steps"
    return {"average": f"of the weights, decay {average.decay:g} {every}; validation and test use averaged weights"}


def _sizes(config: Any) -> str:
    """The sizes of a model with tokens, such as ", 4 blocks, 16 tokens of 64 channels"."""
    try:
        return (
            f", {counted(config.num_blocks, 'block')}, {counted(config.num_tokens, 'token')} of "
            f"{counted(config.hidden_dim, 'channel')}"
        )
    except AttributeError:
        return ""


EPOCH_HEADER = "  epoch   train loss  accuracy   valid. loss  accuracy   images/s   seconds"


def epoch_line(row: dict[str, Any], epochs: int, note: str = "") -> str:
    """Format a row of metrics.jsonl as a line under EPOCH_HEADER."""
    if "validation_loss" in row:
        judged = f"{row['validation_loss']:>13.4f}{100 * row['validation_accuracy']:>8.2f} %"
    else:
        judged = f"{'-':>13}{'-':>10}"
    return (
        f"{row['epoch']:>3}/{epochs:<5}{row['train_loss']:>9.4f}{100 * row['train_accuracy']:>8.1f} %"
        f"{judged}{row['images_per_second']:>11,.0f}{row['seconds']:>10.1f}  {note}"
    ).rstrip()
