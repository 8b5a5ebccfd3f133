"""What the pictures of all studies have in common: panels, points with their spread over seeds, saving."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.curves import INK, plain_axes
from tinymixer.analysis.figures import add_legend, save_picture, transparent_figure, with_fewer_colours
from tinymixer.files import replacing
from tinymixer.studies.numbers import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")
DOTS = 110  # an inch: pictures of two or three panels stay below 60 kB


def panels(mosaic: Sequence[Sequence[str]], width: float, height: float, **layout: Any) -> "tuple[Figure, Any]":
    """A figure and its axes by name, for Matplotlib's `subplot_mosaic`. Call it within `plain_settings()`."""
    figure = transparent_figure(width, height, DOTS)
    return figure, figure.subplot_mosaic([list(row) for row in mosaic], **layout)


def named(axes: "Axes", title: str, x: str = "", y: str = "") -> None:
    """Title and labels of a panel, legible on a white and on a black page."""
    axes.set_title(title, color=INK, loc="left", fontsize="medium", fontweight="bold")
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    plain_axes(axes)


def with_spread(
    axes: "Axes", places: Sequence[float], spreads: Sequence[Spread], colour: str, marker: str = "o", line: str = "-",
    scale: float = 1.0, across: bool = False,
) -> Any:  # fmt: skip
    """Means joined by a line, a bar from the smallest to the largest seed, and a dot for each. Returns the line.

    line     Matplotlib's style; "" joins nothing
    across   places are heights, and the figures run from left to right
    """

    def along(values: Sequence[float], of_places: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        return (values, of_places) if across else (of_places, values)

    kept = [(place, spread) for place, spread in zip(places, spreads, strict=True) if spread]
    xs = [place for place, _ in kept]
    (drawn,) = axes.plot(
        *along([scale * spread.mean for _, spread in kept], xs), marker=marker, linestyle=line or "none", color=colour,
        linewidth=1.6, markersize=6,
    )  # fmt: skip
    for place, spread in kept:
        ends = [scale * spread.low, scale * spread.high]
        axes.plot(*along(ends, [place, place]), color=colour, linewidth=1.2, alpha=0.8)
        each = along([scale * value for value in spread.values], [place] * len(spread.values))
        axes.plot(*each, "|" if across else "_", color=colour, markersize=7, alpha=0.8)
    return drawn


def plain_numbers(axis: "Axis") -> None:
    """Write the numbers of a logarithmic axis out, such as 0.01 and 1,024, and none between them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: "Axes", entries: Sequence[tuple[Any, str]], **style: Any) -> None:
    """A legend without a frame: (line, text) each."""
    style = {"frameon": False, "labelcolor": INK, "fontsize": "small"} | style
    add_legend(axes, [line for line, _ in entries], [text for _, text in entries], **style)


def legend_below(
    axes: "Axes", entries: Sequence[tuple[Any, str]], columns: int, middle: float = 0.5, **style: Any
) -> None:
    """A legend below its panel, where it covers nothing. middle: its own, as a share of the panel's width."""
    legend(axes, entries, loc="upper center", bbox_to_anchor=(middle, -0.16), ncols=columns, **style)


def below(figure: "Figure", text: str) -> None:
    """A line below the panels that says what the marks are and over how many seeds."""
    figure.supxlabel(text, color=INK, fontsize=7.5)


def save(figure: "Figure", folder: Path, name: str, alt: str) -> str:
    """Write a picture into the study's folder, small enough for a repository; returns its name."""
    path = folder / name
    save_picture(figure, path)
    small = with_fewer_colours(path.read_bytes(), alt=alt)
    with replacing(path) as file:
        file.write(small)
    return name
