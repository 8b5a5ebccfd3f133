"""Draws the numbers of a tape as a graph, step by step: forward one number at a time, then backward."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.lessons.pictures import new_figure
from tinymixer.lessons.tape import Tape

Point = tuple[float, float]
VALUE, SLOPE = COLOURS[0], COLOURS[4]
HALF = 0.52  # of a box's width


def graph_steps(
    tape: Tape, names: Sequence[str], formulas: Mapping[str, str], points: Mapping[str, Point]
) -> list[tuple[Any, str]]:
    """The figures and sentences for `show_steps`.

    names     of the numbers, in the order of the tape; the last is the one whose slopes are sought
    formulas  name of a number that was made -> how, such as "w * x"
    points    name -> where its box stands; an arrow leads from each number to those that are made of it
    """
    put_in = [name for name in names if name not in formulas]
    value_of = {name: f"{value:g}" for name, value in zip(names, tape.values, strict=True)}
    known = list(put_in)
    listed = ", ".join(f"{name} = {value_of[name]}" for name in put_in)
    steps = [(_draw(tape, names, points, known), f"Put in: {listed}.")]
    for name in names[len(put_in) :]:
        known.append(name)
        formula = formulas[name]
        numbers = re.sub(r"\w+", lambda found: _in_brackets(value_of[found[0]]), formula)
        said = f"Forward: {name} = {formula} = {numbers} = {value_of[name]}."
        steps.append((_draw(tape, names, points, known, active=name), said))

    slopes = {names[-1]: 1.0}
    said = f"Backward: the slope of {names[-1]} with respect to itself is 1."
    steps.append((_draw(tape, names, points, known, slopes), said))
    for place in range(len(names) - 1, len(put_in) - 1, -1):
        handed = []
        for part, local_slope in tape.ways[place]:
            arriving = slopes[names[place]] * local_slope
            slopes[names[part]] = slopes.get(names[part], 0.0) + arriving
            handed.append(f"{names[part]} gets {slopes[names[place]]:g} times {local_slope:g}, which is {arriving:g}")
        totals = dict.fromkeys(names[part] for part, _ in tape.ways[place])
        now = ", ".join(f"{name} {slopes[name]:g}" for name in totals)
        slope = f"{slopes[names[place]]:g}"
        said = f"Backward from {names[place]}, whose slope is {slope}: {'; '.join(handed)}. Slopes so far: {now}."
        figure = _draw(tape, names, points, known, slopes, active=names[place], with_local_slopes=True)
        steps.append((figure, said))
    return steps


def _in_brackets(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _draw(
    tape: Tape,
    names: Sequence[str],
    points: Mapping[str, Point],
    known: Sequence[str],
    slopes: Mapping[str, float] | None = None,
    active: str = "",
    with_local_slopes: bool = False,
) -> Any:
    """The graph with the values that are known, the slopes that have arrived, and the ways into `active` marked."""
    figure, axis = new_figure(width=8, height=3.1)
    for name, value, ways in zip(names, tape.values, tape.ways, strict=True):
        twice = len(ways) == 2 and ways[0][0] == ways[1][0]
        for index, (part, local_slope) in enumerate(ways):
            bend = (0.35, -0.35)[index] if twice else 0.0
            marked = name == active
            colour = (SLOPE if with_local_slopes else VALUE) if marked else INK
            label = f"\N{MULTIPLICATION SIGN} {local_slope:g}" if marked and with_local_slopes else ""
            _arrow(axis, points[names[part]], points[name], colour, bend, label, 2.2 if marked else 0.9)
        x, y = points[name]
        here = name in known
        style: dict[str, Any] = {"boxstyle": "round,pad=0.35", "facecolor": "none", "edgecolor": VALUE if here else INK}
        style["linewidth"] = 2.2 if name == active else 1.2
        text = f"{name} = {value:g}" if here else name
        axis.text(x, y, text, ha="center", va="center", color=VALUE if here else INK, fontsize=11, bbox=style)
        if slopes and name in slopes:
            axis.text(x, y - 0.36, f"slope {slopes[name]:g}", ha="center", va="top", color=SLOPE, fontsize=10)
    across, up = zip(*points.values(), strict=True)
    axis.set(xlim=(min(across) - 0.7, max(across) + 0.7), ylim=(min(up) - 0.8, max(up) + 0.5))
    axis.axis("off")
    return figure


def _arrow(axis: Any, start: Point, end: Point, colour: str, bend: float, label: str, width: float) -> None:
    (x0, y0), (x1, y1) = start, end
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    across, up = (x1 - x0) / length, (y1 - y0) / length
    gap = min(HALF / max(abs(across), 1e-9), 0.36 / max(abs(up), 1e-9)) + 0.05  # from the middle of a box to its edge
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    style["connectionstyle"] = f"arc3,rad={bend}"
    tail = (x0 + gap * across, y0 + gap * up)
    axis.annotate("", xy=(x1 - gap * across, y1 - gap * up), xytext=tail, arrowprops=style)
    if label:
        inner = length - 2 * gap
        middle_x = (x0 + x1) / 2 + bend * up * inner / 2
        middle_y = (y0 + y1) / 2 - bend * across * inner / 2
        if up > 0.5:  # steep: there is room on its left
            place: dict[str, Any] = {"x": middle_x - 0.15, "y": middle_y, "ha": "right", "va": "center"}
        elif bend > 0:
            place = {"x": middle_x, "y": middle_y - 0.13, "ha": "center", "va": "top"}
        else:
            place = {"x": middle_x, "y": middle_y + 0.13, "ha": "center", "va": "bottom"}
        axis.text(s=label, color=colour, fontsize=9, **place)
