"""The picture of `cost`: accuracy over each cost, with its frontier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings
from tinymixer.studies.cost_points import COSTS, FAMILIES, LAYER_BY_LAYER, measured, points_of
from tinymixer.studies.cost_words import conclude
from tinymixer.studies.frontier import Point, frontier
from tinymixer.studies.numbers import Numbers
from tinymixer.studies.picture import MARKERS, below, legend, named, panels, save, with_spread
from tinymixer.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(numbers: Numbers, folder: Path, finished: Mapping[str, Path]) -> list[str]:
    known = {cost: points for cost in COSTS if (points := points_of(numbers, cost))}
    labels = {
        "operations": "billion multiply-adds of the training",
        "seconds": f"seconds of {measured(numbers).get('seconds_of', '')}",
        "joules": f"joules: {measured(numbers).get('joules_of', '')}",
    }
    seeds = sorted({len(point.accuracy.values) for point in known["operations"]})
    with plain_settings():
        figure, axes = panels([[*known, "key"]], 4.1 * len(known) + 1.7, 3.9, width_ratios=[*[4] * len(known), 1])
        entries: dict[str, Any] = {}
        for place, (cost, points) in enumerate(known.items()):
            entries |= _panel(axes[cost], points, COSTS[cost].scale)
            named(axes[cost], f"By {COSTS[cost].title}", labels[cost], "" if place else "validation accuracy in %")
        if "seconds" in known:
            layers = [point for point in points_of(numbers, "seconds", LAYER_BY_LAYER) if point.family == "mixer"]
            (entries[LAYER_BY_LAYER.replace(", ", ",\n")],) = axes["seconds"].plot(
                [point.cost for point in layers], [100 * point.accuracy.mean for point in layers], ":",
                color=COLOURS[0], marker=MARKERS[0], markerfacecolor="none", linewidth=1.2, markersize=5,
            )  # fmt: skip
        axes["key"].set_axis_off()
        legend(axes["key"], [(line, name) for name, line in entries.items()], loc="center left", borderpad=0)
        often = counted(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {counted(seeds[-1], 'seed')}"
        below(figure, f"Means over {often}, bars: smallest to largest. Sizes from small to large along each line; "
              "equal steps for all.")  # fmt: skip
        return [save(figure, folder, "cost.png", " ".join(conclude(numbers)))]


def _panel(axes: "Axes", points: Sequence[Point], scale: float) -> dict[str, Any]:
    """The families over a cost, and the frontier: lines by name."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return lines
