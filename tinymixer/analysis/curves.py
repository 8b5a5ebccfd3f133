"""Learning curves: loss and accuracy over the epochs, one run or several in one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.figures import add_legend, plain_settings, save_picture, transparent_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito, with a lighter blue: distinct for the colour-blind, legible on white and on black.
COLOURS = ("#2F8FD0", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#8C7AE6")
INK = "#808080"  # a grey that is legible on white and on black


def draw_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw histories (label -> rows of metrics.jsonl) into a PNG file with a transparent background.

    Training curves are dashed, validation curves solid. Each run has its own colour; a cross marks the one test result.
    Runs of checkpoint format 1 have a test curve instead of the validation curve. Raises CheckpointError when the file
    cannot be written.
    """
    with plain_settings():
        save_picture(_curves(histories), path)


def _curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Figure":
    alone, many = len(histories) == 1, len(histories) > len(COLOURS)
    figure = transparent_figure(10, 4 + (0.28 * len(histories) if many else 0))
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    colours = _many_colours(len(histories)) if many else COLOURS
    legends: dict[Axes, list[tuple[Any, str]]] = {loss_axes: [], accuracy_axes: []}
    for index, (label, rows) in enumerate(histories.items()):
        colour = colours[index]
        epochs = [row["epoch"] for row in rows]
        judged = "validation" if any("validation_loss" in row for row in rows) else "test"
        averaged = " (averaged weights)" if any(row.get("averaged") is True for row in rows) else ""
        for axes, quantity, scale in ((loss_axes, "loss", 1), (accuracy_axes, "accuracy", 100)):
            for part, style in (("train", "--"), (judged, "-")):
                values = [scale * row.get(f"{part}_{quantity}", float("nan")) for row in rows]
                if all(value != value for value in values):  # all NaN: the run had no validation images
                    continue
                marker = "o" if len(rows) < 3 else None
                (line,) = axes.plot(epochs, values, style, color=colour, marker=marker, linewidth=1.8)
                if alone or part == judged:
                    legends[axes].append((line, f"{label}, {part}{averaged if part == judged else ''}"))
            if judged == "validation" and f"test_{quantity}" in rows[-1]:
                value = scale * rows[-1][f"test_{quantity}"]
                shown = f"{value:.1f} %" if quantity == "accuracy" else f"{value:.3f}"
                (cross,) = axes.plot(epochs[-1:], [value], "x", color=colour, markersize=8)
                legends[axes].append((cross, f"{label}, test: {shown}"))
    key = "" if alone else " (dashed: training)"
    _style(loss_axes, f"Cross-entropy loss{key}")
    _style(accuracy_axes, f"Accuracy in %{key}")
    for axes, entries in legends.items():
        handles, names = [entry[0] for entry in entries], [entry[1] for entry in entries]
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2} if many else {}  # outside
        add_legend(axes, handles, names, frameon=False, labelcolor=INK, fontsize="small", **below)
    figure.supxlabel(
        "Training curves are measured while training, with the recipe's dropout, label smoothing and augmentation; the "
        "others without.",
        color=INK,
        fontsize=7.5,
    )
    return figure


def _many_colours(count: int) -> list[Any]:
    """`count` colours, spaced evenly over a colour scale."""
    from matplotlib import colormaps

    return [colormaps["turbo"](0.06 + 0.88 * index / (count - 1)) for index in range(count)]


def _style(axes: "Axes", title: str) -> None:
    """Style the axes so that they are legible on a white and on a black page."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel("Epoch", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)


def plain_axes(axes: "Axes") -> None:
    """Grey ticks and grid, and no frame, which are legible on a white and on a black page."""
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
