"""The learning curves of several runs in one picture."""

import os
from collections.abc import Sequence
from pathlib import Path

from tinymixer.analysis.curves import draw_curves
from tinymixer.borders import shown_path
from tinymixer.errors import TrainingError
from tinymixer.training.history import Row, read_rows

NUMBERS = [f"{part}_{quantity}" for part in ("train", "validation", "test") for quantity in ("loss", "accuracy")]


def plot_runs(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the learning curves of run folders (or metrics.jsonl files) into one PNG file and return its path.

    Raises TrainingError for a folder without finished epochs, CheckpointError when the picture cannot be written.
    Needs Matplotlib.
    """
    histories: dict[str, Sequence[Row]] = {}
    for run, label in zip(runs, labels_of([Path(run) for run in runs]), strict=True):
        metrics = Path(run) / "metrics.jsonl" if Path(run).is_dir() else Path(run)
        histories[label] = read_rows(metrics)
        if not histories[label]:
            raise TrainingError(f"{run} has no finished epoch to plot: expected the folder of a training run")
        for row in histories[label]:
            for name in NUMBERS:
                if not isinstance(row.get(name, 0.0 if name != "train_loss" else None), int | float):
                    raise TrainingError(f"{metrics} has no number '{name}' for epoch {row['epoch']}")
    draw_curves(histories, Path(out))
    return Path(out)


def labels_of(paths: Sequence[Path]) -> list[str]:
    """Short names for the runs that tell them apart."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [shown_path(folder.resolve().name) for folder in folders]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath([folder.resolve() for folder in folders])
    longer = [os.path.relpath(folder.resolve(), shared) for folder in folders]
    return [path if longer.count(path) == 1 else f"{names[i]} ({i + 1})" for i, path in enumerate(longer)]
