"""Draws the learning curves of several runs into one picture."""

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

    A run that cannot be drawn is left out (`histories_of` says why). Raises TrainingError when none is left,
    CheckpointError when the picture cannot be written. Needs Matplotlib.
    """
    histories, left_out = histories_of(runs)
    if not histories:
        raise TrainingError("; ".join(left_out) or "there are no runs to plot")
    draw_curves(histories, Path(out))
    return Path(out)


def histories_of(runs: Sequence[str | Path]) -> tuple[dict[str, list[Row]], list[str]]:
    """(label -> rows of that run, sentences about the runs that cannot be drawn); every run has a different label."""
    histories: dict[str, list[Row]] = {}
    left_out = []
    for run, label in zip(runs, labels_of([Path(run) for run in runs]), strict=True):
        try:
            histories[label] = _rows_of(Path(run))
        except TrainingError as error:
            left_out.append(str(error))
    return histories, left_out


def _rows_of(run: Path) -> list[Row]:
    metrics = run / "metrics.jsonl" if run.is_dir() else run
    rows = read_rows(metrics)
    if not rows:
        raise TrainingError(f"{run} has no finished epoch to plot: expected the folder of a training run")
    for row in rows:
        for name in NUMBERS:
            if type(row.get(name, 0.0 if name != "train_loss" else None)) not in (int, float):
                raise TrainingError(f"{metrics} has no number '{name}' for epoch {row['epoch']}")
    return rows


def labels_of(paths: Sequence[Path]) -> list[str]:
    """Short names for the runs, all of them different."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [shown_path(folder.resolve().name) for folder in folders]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath([folder.resolve() for folder in folders])
    longer = [os.path.relpath(folder.resolve(), shared) for folder in folders]
    return [path if longer.count(path) == 1 else f"{names[i]} ({i + 1})" for i, path in enumerate(longer)]
