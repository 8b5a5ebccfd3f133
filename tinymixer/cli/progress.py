"""What a person sees of a training run: a live bar in a terminal, a line for each epoch everywhere."""

import sys
from typing import TYPE_CHECKING, Any

import click

from tinymixer.cli.output import counted, print_labelled
from tinymixer.training.progress import Progress

if TYPE_CHECKING:
    from tqdm import tqdm

    from tinymixer.training.trainer import Trainer, TrainingResult


class TrainingDisplay(Progress):
    """Shows a run: its first lines and one line per epoch on standard output, the live bar on standard error.

    The bar appears only where standard error is a terminal; elsewhere no carriage return is ever written.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: tqdm[Any] | None = None
        self.epochs = self.steps_per_epoch = 0
        self.best = -1.0

    def on_start(self, trainer: "Trainer") -> None:
        self.epochs, self.steps_per_epoch = trainer.recipe.training.epochs, trainer.steps_per_epoch
        self.best = trainer.state.best_accuracy
        if self.quiet:
            return
        print_labelled(introduction(trainer))
        click.echo(f"\n{EPOCH_HEADER}")
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
        self.bar.bar_format = self._bar_format(step - 1, state)
        self.bar.update(step - self.bar.n)

    def on_epoch(self, row: dict[str, Any]) -> None:
        note = "best" if row["test_accuracy"] > self.best else ""
        self.best = max(self.best, row["test_accuracy"])
        if not self.quiet:
            self._say(epoch_line(row, self.epochs, note))

    def on_note(self, text: str) -> None:
        self._say(text, to_stderr=True)

    def on_end(self, result: "TrainingResult") -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the screen, however the run ended."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _bar_format(self, step: int, state: str) -> str:
        """The bar while step `step` (from 0) is under way or just done: epoch, share of the run, bar, state."""
        epoch = min(step // self.steps_per_epoch + 1, self.epochs)
        return f"epoch {epoch}/{self.epochs} {{percentage:3.0f}}%|{{bar}}| {state}"

    def _say(self, text: str, to_stderr: bool = False) -> None:
        """Print a line above the bar."""
        if self.bar is not None:
            self.bar.clear()
        click.echo(text, err=to_stderr)
        if self.bar is not None:
            self.bar.refresh()


def introduction(trainer: "Trainer") -> dict[str, str]:
    """What is trained, on which images, for how long, with what, and where it is kept."""
    recipe, config, dataset = trainer.recipe, trainer.recipe.model, trainer.dataset
    training, backend = recipe.training, trainer.backend
    height, width, channels = dataset.train_images.shape[1:]
    return {
        "recipe": f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        "model": f"{counted(trainer.model.parameters.count, 'parameter')} in {counted(config.num_blocks, 'block')}, "
        f"{counted(config.num_tokens, 'token')} of {counted(config.hidden_dim, 'channel')}",
        "data": f"{dataset.name}, {len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{height} x {width} x {channels}, {len(dataset.class_names)} classes",
        "steps": f"{counted(training.epochs, 'epoch')} of {counted(trainer.steps_per_epoch, 'step')}, "
        f"{counted(training.batch_size, 'image')} each",
        "backend": f"{backend.name}, {training.dtype}, {_how(trainer)} ({backend.reason})",
        "folder": f"{trainer.folder.path} (Ctrl-C stops there and saves)",
    }


def _how(trainer: "Trainer") -> str:
    """Which computation; its slices and threads where it has some."""
    threads = getattr(trainer.computation, "threads", None)
    size = getattr(trainer.computation, "slice_size", None)
    if threads is None or size is None:
        return "layer by layer"
    return f"in slices of {counted(size.images, 'image')} ({size.reason}) on {counted(threads, 'thread')}"


EPOCH_HEADER = "  epoch   train loss  accuracy    test loss  accuracy   images/s   seconds"


def epoch_line(row: dict[str, Any], epochs: int, note: str = "") -> str:
    """A row of metrics.jsonl under EPOCH_HEADER."""
    return (
        f"{row['epoch']:>3}/{epochs:<5}{row['train_loss']:>9.4f}{100 * row['train_accuracy']:>8.1f} %"
        f"{row['test_loss']:>13.4f}{100 * row['test_accuracy']:>8.2f} %{row['images_per_second']:>11,.0f}"
        f"{row['seconds']:>10.1f}  {note}"
    ).rstrip()


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
