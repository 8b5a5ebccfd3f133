"""A picture of the learning rate range test: learning rate against loss."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import add_legend, plain_settings, save_picture, transparent_figure
from tinymixer.analysis.sweep_picture import logarithmic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_range_test(
    title: str,
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    marks: Mapping[str, float],
    path: Path,
) -> None:
    """Draw losses (N,) over rates (N,) into a PNG file with a transparent background.

    marks   learning rates that are suggested, by what they are called

    Raises CheckpointError when the file cannot be written.
    """
    with plain_settings():
        save_picture(_figure(title, rates, losses, smoothed, marks), path)


def _figure(
    title: str, rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, marks: Mapping[str, float]
) -> "Figure":
    figure = transparent_figure(8, 4.6)
    axes = figure.subplots()
    (points,) = axes.plot(rates, losses, ".", color=INK, alpha=0.6, markersize=4)
    (line,) = axes.plot(rates, smoothed, "-", color=COLOURS[0], linewidth=2)
    handles, names = [points, line], ["loss of each step", "smoothed"]
    for (name, rate), colour in zip(marks.items(), (COLOURS[2], COLOURS[4]), strict=False):
        height = float(np.interp(np.log(rate), np.log(rates), smoothed))
        axes.axvline(rate, color=colour, linewidth=1, linestyle=":")
        (mark,) = axes.plot([rate], [height], "o", color=colour, markersize=8)
        handles.append(mark)
        names.append(f"{name}: {rate:.2g}")
    logarithmic(axes)
    low, high = float(smoothed.min()), float(np.max(smoothed[: int(np.argmin(smoothed)) + 1]))
    span = max(high - low, 1e-6)
    # What shows the range is how the loss falls; how far it shoots up behind that does not matter.
    axes.set_ylim(low - 0.25 * span, high + 0.6 * span)
    axes.set_title(title, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel("Learning rate", color=INK)
    axes.set_ylabel("Training loss", color=INK)
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    add_legend(axes, handles, names, frameon=False, labelcolor=INK, fontsize="small", loc="lower left")
    return figure
