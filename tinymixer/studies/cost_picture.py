"""The picture of `cost`: accuracy over each cost, with its frontier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings
from tinymixer.studies.cost_points import COSTS, FAMILIES, LAYER_BY_LAYER, measured, points_of
from tinymixer.studies.cost_words import conclude
from tinymixer.studies.frontier import Point, frontier
from tinymixer.studies.numbers import Numbers
from tinymixer.studies.picture import MARKERS, below, legend, named, panels, plain_numbers, save, with_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    known = {cost: points for cost in COSTS if (points := points_of(numbers, cost))}
    labels = {
        "operations": "billion multiply-adds of the training",
        "seconds": f"seconds of {measured(numbers).get('seconds_of', '')}",
        "joules": f"joules: {measured(numbers).get('joules_of', '')}",
    }
    best = max(point.accuracy.high for point in known["operations"])
    stretch = best > 0.9  # the axis of accuracies, where the best ones come near 100 %
    with plain_settings():
        figure, axes = panels([[*known, "key"]], 4.1 * len(known) + 1.7, 3.9, width_ratios=[*[4] * len(known), 1])
        entries: dict[str, Any] = {}
        for place, (cost, points) in enumerate(known.items()):
            entries |= _panel(axes[cost], points, COSTS[cost].scale, stretch)
            named(axes[cost], f"By {COSTS[cost].title}", labels[cost], "" if place else "validation accuracy in %")
        if "seconds" in known:
            layers = [point for point in points_of(numbers, "seconds", LAYER_BY_LAYER) if point.family == "mixer"]
            (entries[LAYER_BY_LAYER.replace(", ", ",\n")],) = axes["seconds"].plot(
                [point.cost for point in layers], [100 * point.accuracy.mean for point in layers], ":",
                color=COLOURS[0], marker=MARKERS[0], markerfacecolor="none", linewidth=1.2, markersize=5,
            )  # fmt: skip
        axes["key"].set_axis_off()
        legend(axes["key"], [(line, name) for name, line in entries.items()], loc="center left", borderpad=0)
        stretched_words = " The axis is stretched towards 100 %." if stretch else ""
        below(
            figure,
            f"Means over {numbers.seeds_in_words()}, bars: smallest to largest. Sizes from small to large along each "
            f"line; equal steps for all.{stretched_words}",
        )
        return [save(figure, folder, "cost.png", " ".join(conclude(numbers)))]


def stretched(accuracy: np.ndarray) -> np.ndarray:
    """Where an accuracy in % stands on the axis: the logarithm of what is missing to 101, so that 98 and 99 differ."""
    return -np.log10(np.maximum(101 - accuracy, 1e-3))


def unstretched(place: np.ndarray) -> np.ndarray:
    """The accuracy in % at a place on the axis."""
    return 101 - 10.0**-place


def _panel(axes: "Axes", points: Sequence[Point], scale: float, stretch: bool) -> dict[str, Any]:
    """The families over a cost, and the frontier: lines by name."""
    from matplotlib.ticker import FixedLocator, LogLocator

    lines = {}
    for index, family in enumerate(FAMILIES):
        own = [point for point in points if point.family == family]
        if own:
            places = [point.cost / scale for point in own]
            lines[family] = with_spread(
                axes, places, [point.accuracy for point in own], COLOURS[index], MARKERS[index], "-", 100
            )
    front = frontier(points)
    ends = [*front, max(points, key=lambda point: point.cost)]  # it goes on at its height to the dearest point
    heights = [100 * point.accuracy.mean for point in [*front, front[-1]]]
    (lines["frontier"],) = axes.plot(
        [point.cost / scale for point in ends], heights, "--", color=INK, drawstyle="steps-post", linewidth=1.2
    )
    if stretch:
        axes.set_yscale("function", functions=(stretched, unstretched))
        axes.set_ylim(max(0.0, 100 * min(point.accuracy.low for point in points) - 4), 100.3)
        axes.yaxis.set_major_locator(FixedLocator([0, 20, 40, 60, 70, 80, 90, 95, 98, 100]))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    plain_numbers(axes.xaxis)
    return lines
