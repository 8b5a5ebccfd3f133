"""Learning curves: loss and accuracy over the epochs, one run or several in one picture."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinymixer.analysis.figures import transparent_figure
from tinymixer.errors import TrainingError
from tinymixer.training.files import replacing
from tinymixer.training.history import Row, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# After Okabe and Ito, with a lighter blue: apart for the colour-blind, legible on white and on black.
COLOURS = ("#2F8FD0", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#8C7AE6")
INK = "#808080"  # the one grey that stands out against white and black alike


def plot_runs(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the learning curves of run folders (or metrics.jsonl files) into one PNG file and return its path.

    Raises TrainingError for a folder without finished epochs, CheckpointError when the picture cannot be written.
    Needs Matplotlib.
    """
    histories: dict[str, Sequence[Row]] = {}
    for run, label in zip(runs, _labels([Path(run) for run in runs]), strict=True):
        metrics = Path(run) / "metrics.jsonl" if Path(run).is_dir() else Path(run)
        histories[label] = read_rows(metrics)
        if not histories[label]:
            raise TrainingError(f"{run} has no finished epoch to plot: expected the folder of a training run")
        for row in histories[label]:
            for name in ("test_loss", "test_accuracy"):
                if not isinstance(row.get(name), int | float):
                    raise TrainingError(f"{metrics} has no number '{name}' for epoch {row['epoch']}")
    draw_curves(histories, Path(out))
    return Path(out)


def draw_curves(histories: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Draw histories (label -> rows of metrics.jsonl) into a PNG file with a transparent background.

    Training is dashed, test solid; each run has a colour. Raises CheckpointError when the file cannot be written.
    """
    figure = transparent_figure(10, 4)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    alone = len(histories) == 1
    for index, (label, rows) in enumerate(histories.items()):
        colour = COLOURS[index % len(COLOURS)]
        epochs = [row["epoch"] for row in rows]
        best = max(row["test_accuracy"] for row in rows)
        for axes, quantity, scale in ((loss_axes, "loss", 1), (accuracy_axes, "accuracy", 100)):
            for part, style in (("train", "--"), ("test", "-")):
                values = [scale * row.get(f"{part}_{quantity}", float("nan")) for row in rows]
                note = f" (best {best:.1%})" if quantity == "accuracy" and part == "test" else ""
                marker = "o" if len(rows) < 3 else None
                name = f"{label}, {part}{note}" if alone or part == "test" else None
                axes.plot(epochs, values, style, color=colour, marker=marker, linewidth=1.8, label=name)
    key = "" if alone else " (dashed: training)"
    _style(loss_axes, f"Cross-entropy loss{key}")
    _style(accuracy_axes, f"Accuracy in %{key}")
    with replacing(path) as file:
        figure.savefig(file, format="png", transparent=True)


def _style(axes: "Axes", title: str) -> None:
    """Axes that are legible on a white and on a black page."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel("Epoch", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.legend(frameon=False, labelcolor=INK, fontsize="small")


def _labels(paths: Sequence[Path]) -> list[str]:
    """Short names for the runs that tell them apart."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath([folder.resolve() for folder in folders])
    longer = [os.path.relpath(folder.resolve(), shared) for folder in folders]
    return [path if longer.count(path) == 1 else f"{names[i]} ({i + 1})" for i, path in enumerate(longer)]
