"""Draws a confusion matrix: right predictions in blue, wrong ones in orange."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import plain_settings, save_picture
from tinymixer.errors import ShapeError
from tinymixer.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WRITTEN_CLASSES = 20  # above this many, cells are too small for numbers
LONGEST_NAME = 14
WIDEST = 30  # inches: with up to 200 classes, names of 7 points fit beside the rows


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], title: str = "") -> "Figure":
    """Draw a confusion matrix (K, K), rows true and columns predicted, as counts and shares of each row.

    The diagonal and the mistakes have separate colours and scales, so that one mistake in a hundred is visible beside
    99 right predictions. A column on the right gives each class's recall, a row at the bottom its precision. The
    background is transparent, and the text is legible on a light and on a dark page.

    Returns a matplotlib Figure. Raises ShapeError where names and matrix do not fit. Needs Matplotlib.
    """
    from matplotlib.figure import Figure

    classes = len(class_names)
    if confusion.shape != (classes, classes):
        raise ShapeError(
            f"expected a confusion matrix ({classes}, {classes}) for {classes} names, got {confusion.shape}"
        )
    written = classes <= MOST_WRITTEN_CLASSES
    side = max(4.0, (0.62 if written else min(0.15, WIDEST / classes)) * (classes + 1.2))  # inches
    figure = Figure(figsize=(side + 1.6, side + 1.5), dpi=120, facecolor="none")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    axes = figure.add_subplot()
    shares = _shares(confusion, axis=1)  # (K, K)
    _fill_cells(axes, shares, gap=0.03 if written else 0)
    if written:
        _write_cells(axes, confusion, shares)
        _write_margins(axes, confusion)
    _label(axes, class_names, title)
    return figure


def save_confusion(confusion: np.ndarray, class_names: Sequence[str], path: Path, title: str = "") -> Path:
    """Draw a confusion matrix (K, K) into a PNG file and return its path.

    Raises CheckpointError when the file cannot be written; an older file of that name then stays.
    """
    with plain_settings():
        save_picture(draw_confusion(confusion, class_names, title), path)
    return path


def _fill_cells(axes: Any, shares: np.ndarray, gap: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    side, classes = 1 - 2 * gap, len(shares)
    corners = ((column - side / 2, row - side / 2) for row in range(classes) for column in range(classes))
    cells = PatchCollection([Rectangle(corner, side, side) for corner in corners], linewidth=0, antialiased=bool(gap))
    cells.set(facecolor=_colours(shares).reshape(-1, 4))
    axes.add_collection(cells)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal", facecolor="none")


def _shares(confusion: np.ndarray, axis: int) -> np.ndarray:
    """Each count divided by the sum along `axis`; 0 where the sum is 0."""
    totals = np.broadcast_to(confusion.sum(axis=axis, keepdims=True), confusion.shape)
    return np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)


def _colours(shares: np.ndarray) -> np.ndarray:
    """Blues for the diagonal, oranges for mistakes, nearly transparent for 0: shares (K, K) -> colours (K, K, 4)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    diagonal = np.eye(len(shares), dtype=bool)  # (K, K)
    mistakes = np.where(diagonal, 0.0, shares)  # (K, K)
    scale = max(mistakes.max(initial=0.0), 0.05)
    right = colormaps["Blues"](0.08 + 0.34 * shares)  # (K, K, 4), light enough to read black numbers on
    wrong = colormaps["Oranges"](0.06 + 0.4 * mistakes / scale)  # (K, K, 4)
    return np.where(diagonal[..., None], right, np.where(shares[..., None] > 0, wrong, to_rgba(INK, 0.08)))


def _write_cells(axes: Any, confusion: np.ndarray, shares: np.ndarray) -> None:
    """Write each cell's count, and below it the share of the true class; cells without images stay empty."""
    for row, column in zip(*np.nonzero(confusion), strict=True):
        weight = "bold" if row == column else "normal"
        _write(axes, f"{confusion[row, column]:,}", (column, row), (0, 6), fontsize=10, weight=weight)
        _write(axes, _percent(shares[row, column]), (column, row), (0, -9), fontsize=7.5)


def _write_margins(axes: Any, confusion: np.ndarray) -> None:
    """Write the recall at the end of each row and the precision below each column."""
    end, outside = len(confusion) - 0.5, {"fontsize": 8.5, "color": INK}
    recall, precision = np.diagonal(_shares(confusion, axis=1)), np.diagonal(_shares(confusion, axis=0))  # (K,) each
    for k in range(len(confusion)):
        _write(axes, _percent(recall[k]) if confusion[k].any() else "-", (end, k), (8, 0), ha="left", **outside)
        _write(axes, _percent(precision[k]) if confusion[:, k].any() else "-", (k, end), (0, -14), **outside)
    _write(axes, "recall", (end, -0.5), (8, 10), ha="left", style="italic", **outside)
    _write(axes, "precision", (-0.5, end), (-6, -14), ha="right", style="italic", **outside)


def _write(axes: Any, text: str, at: tuple[float, float], points: tuple[float, float], **style: Any) -> None:
    """Write text at a position in the matrix, shifted by a few points."""
    style = {"ha": "center", "va": "center"} | style
    axes.annotate(text, at, xytext=points, textcoords="offset points", annotation_clip=False, **style)


def _label(axes: Any, class_names: Sequence[str], title: str) -> None:
    names = [printable(name) for name in class_names]  # Matplotlib sets tick labels again when it draws
    names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..." for name in names]
    ticks = range(len(names))
    slanted = max(map(len, names), default=0) > 3
    many = len(names) > MOST_WRITTEN_CLASSES
    slant = {"rotation": 90 if many else 40, "ha": "center" if many else "left"}
    rotation = (slant if many else slant | {"rotation_mode": "anchor"}) if slanted else {}
    size = min(7.0, 1400 / len(names)) if many else 9
    axes.set_xticks(ticks, names, fontsize=size, **rotation)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xlabel("taken for", fontsize=10, labelpad=8, color=INK)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("true class", fontsize=10, color=INK)
    axes.set_title(title, fontsize=11, pad=14, color=INK, fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _percent(share: float) -> str:
    """Format a share from 0 to 1 as a percentage; only a share of exactly 1 becomes 100 %."""
    if share in (0.0, 1.0) or 0.1 <= share < 0.995:
        return f"{share:.0%}"
    return f"{share:.1%}" if share < 0.9995 else "99.9%"
