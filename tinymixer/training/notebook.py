"""Shows a run's progress in a notebook, unless the caller chose another display."""

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from tinymixer.abilities import has_threads
from tinymixer.training.progress import Progress

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer, TrainingResult


def default_progress() -> Progress:
    """A bar in a notebook with tqdm, unless TQDM_DISABLE is set; anywhere else a `Progress` that shows nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel") or os.environ.get("TQDM_DISABLE"):
        return Progress()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that without ipywidgets its bar is plain text
            import tqdm.auto  # noqa: F401
    except ImportError:
        return Progress()
    return NotebookProgress()


class NotebookProgress(Progress):
    """One bar for the run, with the last epoch's figures beside it, and the result below."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_start(self, trainer: "Trainer") -> None:
        from tqdm.auto import tqdm

        if not has_threads():
            tqdm.monitor_interval = 0  # tqdm's own thread; where it cannot be started, tqdm warns
        self.bar = tqdm(total=trainer.total_steps, initial=trainer.step, desc=trainer.recipe.name, unit="step")

    def on_step(self, step: int, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> None:
        self.bar.update(step - self.bar.n)

    def on_epoch(self, row: dict[str, Any]) -> None:
        figures = {"epoch": row["epoch"], "train loss": f"{row['train_loss']:.3f}"}
        if "validation_accuracy" in row:
            figures["validation"] = f"{100 * row['validation_accuracy']:.1f} %"
        self.bar.set_postfix(figures)

    def on_note(self, text: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(text)

    def on_end(self, result: "TrainingResult") -> None:
        if self.bar is not None:
            self.bar.close()
        self.on_note(result.message)
