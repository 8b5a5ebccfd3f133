"""A picture of a sweep: for each field, its value against the validation accuracy of each trial."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.curves import COLOURS, INK, plain_axes
from tinymixer.analysis.figures import add_legend, plain_settings, save_picture, transparent_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_IN_A_ROW = 3
LONGEST_LABEL = 18  # characters of a value under the axis
MARKERS = {  # state -> marker, filled or not, colour
    "finished": ("o", True, COLOURS[0]),
    "running": ("o", False, COLOURS[0]),
    "pruned": ("v", False, COLOURS[1]),
    "failed": ("x", True, COLOURS[4]),
}


@dataclass(frozen=True)
class SweptValues:
    """One field's value in each trial, None before a trial has begun.

    choices   all values there are, in their order; empty for a range
    log       whether a range is searched in the logarithm
    """

    values: Sequence[Any]
    choices: Sequence[Any] = ()
    log: bool = False


def draw_sweep(
    title: str,
    fields: Mapping[str, SweptValues],
    accuracies: Sequence[float | None],
    states: Sequence[str],
    path: Path,
) -> None:
    """Draw all trials into a PNG file with a transparent background; the best finished one is circled.

    accuracies   on the validation images (0 to 1); a failed trial, which has none, is marked at the lower edge
    states       "finished", "running", "interrupted", "pruned", "failed" or "waiting", which is left out

    Raises CheckpointError when the file cannot be written.
    """
    with plain_settings():
        save_picture(_figure(title, fields, accuracies, states), path)


def _figure(
    title: str, fields: Mapping[str, SweptValues], accuracies: Sequence[float | None], states: Sequence[str]
) -> "Figure":
    columns = 2 if len(fields) == 4 else min(len(fields), PANELS_IN_A_ROW)
    lines = -(-len(fields) // columns)
    figure = transparent_figure(max(6.5, 4.2 * columns), 3.4 * lines + 1.1)
    finished = [
        (accuracy, -number)
        for number, (accuracy, state) in enumerate(zip(accuracies, states, strict=True))
        if state == "finished" and accuracy is not None
    ]
    best = -max(finished)[1] if finished else None
    known = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    low, high = (min(known), max(known)) if known else (0.0, 100.0)
    margin = max(0.08 * (high - low), 0.5)
    floor, ceiling = low - 1.6 * margin, high + margin
    shown: dict[str, Any] = {}
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (name, swept) in zip(grid.flat, fields.items(), strict=False):
        shown |= _panel(axes, name, swept, accuracies, states, best, floor)
        axes.set_ylim(floor - 0.4 * margin, ceiling)
    for axes in list(grid.flat)[len(fields) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("Validation accuracy in %", color=INK)
    _title(figure, title, states)
    if shown:
        add_legend(
            figure, list(shown.values()), list(shown), loc="outside lower center", ncols=len(shown), frameon=False,
            labelcolor=INK, fontsize="small",
        )  # fmt: skip
    return figure


def _title(figure: "Figure", title: str, states: Sequence[str]) -> None:
    ended = sum(state in ("finished", "pruned", "failed") for state in states)
    figure.suptitle(f"{title}: {ended} of {len(states)} trials", color=INK, fontweight="bold")


def _panel(
    axes: "Axes",
    name: str,
    swept: SweptValues,
    accuracies: Sequence[float | None],
    states: Sequence[str],
    best: int | None,
    floor: float,
) -> dict[str, Any]:
    """Draw one field's panel; returns the marks in it by their name in the legend."""
    places = _places(axes, swept)
    marks: dict[str, Any] = {}
    for state, (marker, filled, colour) in MARKERS.items():
        chosen = [
            index
            for index, (accuracy, its) in enumerate(zip(accuracies, states, strict=True))
            if (its == state or (its == "interrupted" and state == "running"))
            and (accuracy is not None or state == "failed")
        ]
        if chosen:
            heights = [floor if (height := accuracies[index]) is None else 100 * height for index in chosen]
            # An "x" has no inside: its colour is that of its line.
            face = colour if filled else "none"
            (mark,) = axes.plot(
                [places[index] for index in chosen], heights, marker, color=colour, markerfacecolor=face,
                markersize=6, alpha=0.85, markeredgewidth=1.5,
            )  # fmt: skip
            marks[{"running": "not finished yet", "failed": "failed (no accuracy)"}.get(state, state)] = mark
    if best is not None:
        height = 100 * (accuracies[best] or 0.0)
        (mark,) = axes.plot([places[best]], [height], "o", color=COLOURS[2], markerfacecolor="none", markersize=13,
                            markeredgewidth=2)  # fmt: skip
        marks["best"] = mark
        axes.axhline(height, color=COLOURS[2], linewidth=0.8, alpha=0.6, linestyle=":")
    axes.set_title(name, color=INK, loc="left", fontsize="medium")
    plain_axes(axes)
    return marks


def logarithmic(axes: "Axes") -> None:
    """A logarithmic axis whose numbers are plain text, 0.001: Matplotlib would write them as formulas."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _places(axes: "Axes", swept: SweptValues) -> list[float]:
    """Where each trial stands along the axis: choices one beside the other, a range by its numbers; NaN for nowhere."""
    if not swept.choices:
        if swept.log:
            logarithmic(axes)
        return [math.nan if value is None else float(value) for value in swept.values]
    choices = list(swept.choices)
    labels = [f"{choice:.4g}" if isinstance(choice, float) else str(choice) for choice in choices]
    labels = [label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 3]}..." for label in labels]
    crowded = sum(map(len, labels)) > 34
    axes.set_xticks(range(len(choices)), labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.5, max(len(choices), 1) - 0.5)
    return [math.nan if value is None else float(choices.index(value)) for value in swept.values]
