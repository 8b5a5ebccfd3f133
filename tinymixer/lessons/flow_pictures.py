"""Draws the backward pass, step by step, for `show_steps`: through token mixing, and through a whole block.

All numbers in the pictures come from the package's operations and layers, for the arrays that are handed in.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.lessons.pictures import new_figure
from tinymixer.ops.array_library import Array

Step = tuple[Any, str]  # a figure, and what happens in it

FORWARD, BACKWARD = COLOURS[0], COLOURS[4]
TOKENS_IN, TOKENS_OUT = (COLOURS[0], COLOURS[1], COLOURS[2]), (COLOURS[3], COLOURS[5])
CELL = 0.8  # the height of a table's cell; its width is 1
GAP = 2.2  # between two tables
LOWER = 6.4  # where the row of gradients begins


@dataclass(frozen=True)
class Table:
    """Numbers to draw; `token_axis` is the axis that runs over tokens, whose colours are `colours`."""

    values: Array  # (rows, columns)
    token_axis: int | None = None
    colours: Sequence[str] = ()
    bias: Array | None = None  # (columns,), drawn below

    @property
    def height(self) -> float:
        return CELL * (len(self.values) + (1.4 if self.bias is not None else 0))

    def colour(self, *place: int) -> str:
        return INK if self.token_axis is None else self.colours[place[self.token_axis]]


def token_mixing_steps(x: Array, weight: Array, bias: Array, dy: Array) -> list[Step]:
    """dy on its way back through transpose, Linear, transpose, for one image, with all numbers written out.

    x (S, C), weight (S, O), bias (O,), dy (O, C), with 3 tokens in and 2 tokens out at most: each has its colour
    """
    turned, dlinear_y = x.T, dy.T  # (C, S), (C, O)
    linear_y, cache = ops.linear_forward(turned, weight, bias)  # (C, O)
    dturned, dweight, dbias = ops.linear_backward(dlinear_y, cache)  # (C, S), (S, O), (O,)
    tables = {
        "x": Table(x, 0, TOKENS_IN),
        "turned": Table(turned, 1, TOKENS_IN),
        "weight": Table(weight, bias=bias),
        "linear_y": Table(linear_y, 1, TOKENS_OUT),
        "y": Table(linear_y.T, 0, TOKENS_OUT),
        "dx": Table(dturned.T, 0, TOKENS_IN),
        "dturned": Table(dturned, 1, TOKENS_IN),
        "dweight": Table(dweight, bias=dbias),
        "dlinear_y": Table(dlinear_y, 1, TOKENS_OUT),
        "dy": Table(dy, 0, TOKENS_OUT),
    }
    of_dweight = _sum_of_products(turned[:, 0], dlinear_y[:, 0], dweight[0, 0])
    of_dturned = _sum_of_products(dlinear_y[0], weight[0], dturned[0, 0])
    known = ["x", "weight"]
    steps: list[Step] = []
    for new, used, said in (
        (
            "turned",
            {"x"},
            f"Forward: x {x.shape} has a row for each token. Turned, {turned.shape}, it has a column for each token.",
        ),
        (
            "linear_y",
            {"turned", "weight"},
            f"Forward: the Linear multiplies {turned.shape} by {weight.shape} and adds the bias. Its rows are the "
            f"channels, and they all share the weight. Out comes {linear_y.shape}.",
        ),
        ("y", {"linear_y"}, f"Forward: turned back, y {dy.shape} has a row for each token that comes out."),
        ("dy", set[str](), f"Backward: dy {dy.shape} arrives, with a number for each number of y."),
        (
            "dlinear_y",
            {"dy"},
            f"Backward through the second transposition: the same numbers, turned to {dlinear_y.shape}. Nothing is "
            "added up.",
        ),
        (
            "dweight",
            {"dlinear_y", "turned"},
            f"Backward through the Linear: dweight = turned.T @ dlinear_y is {weight.shape}. Its first entry is a sum "
            f"over the {len(turned)} channels: {of_dweight}. And dbias adds up the columns of dlinear_y.",
        ),
        (
            "dturned",
            {"dlinear_y", "weight"},
            f"Backward through the Linear: dturned = dlinear_y @ weight.T is {turned.shape}. Its first entry is a sum "
            f"over the {len(bias)} tokens that came out: {of_dturned}.",
        ),
        (
            "dx",
            {"dturned"},
            f"Backward through the first transposition: dx {x.shape}. Each number is back in the place of the number "
            "of x that it belongs to.",
        ),
    ):
        known.append(new)
        steps.append((_draw_tables(tables, known, new, used), said))
    return steps


def _sum_of_products(one: Array, other: Array, total: float) -> str:
    products = (f"{_in_brackets(a)} \N{MULTIPLICATION SIGN} {_in_brackets(b)}" for a, b in zip(one, other, strict=True))
    return f"{' + '.join(products)} = {total:g}"


def _in_brackets(number: float) -> str:
    return f"({number:g})" if number < 0 else f"{number:g}"


def _draw_tables(tables: dict[str, Table], known: Collection[str], active: str, used: Collection[str]) -> Any:
    """Both rows of tables: numbers where they are known, frames around the tables of this step."""
    figure, axis = new_figure(width=8, height=4.1)
    names = list(tables)
    middle = max(table.height for table in tables.values()) / 2  # of a row, below its top
    centre: dict[str, float] = {}
    left = 0.0
    for above, below in zip(names[:5], names[5:], strict=True):
        for name, row, colour in ((above, 0.0, FORWARD), (below, LOWER, BACKWARD)):
            table = tables[name]
            top = row + middle - table.height / 2
            thick = 2.6 if name == active else 1.2 if name in used else 0.0
            _draw_table(axis, table, left, top, name in known, colour, thick)
            centre[name] = left + table.values.shape[1] / 2
            label = f"{name}, {'d' * (row > 0)}bias" if table.bias is not None else f"{name}\n{table.values.shape}"
            axis.text(centre[name], top - 0.3, label, ha="center", va="bottom", color=colour, fontsize=9)
        left += tables[above].values.shape[1] + GAP
        if above != names[4]:
            forth = {"turned": "@", "weight": "="}.get(above, "turn\n$\\rightarrow$")
            back = {"turned": "", "weight": "$\\leftarrow$"}.get(above, "turn\n$\\leftarrow$")
            axis.text(left - GAP / 2, middle, forth, ha="center", va="center", color=FORWARD, fontsize=9)
            axis.text(left - GAP / 2, LOWER + middle, back, ha="center", va="center", color=BACKWARD, fontsize=9)
    # dturned does not come from dweight: its arrow leads past it, below.
    start, end, low = centre["dlinear_y"], centre["dturned"], LOWER + 2 * middle + 0.3
    axis.plot([start, start, end], [low, low + 0.7, low + 0.7], color=BACKWARD, linewidth=1)
    axis.annotate("", (end, low - 0.1), (end, low + 0.7), arrowprops={"arrowstyle": "-|>", "color": BACKWARD})
    axis.text((start + end) / 2, low + 0.85, "@ weight.T", ha="center", va="top", color=BACKWARD, fontsize=9)
    axis.set(xlim=(-0.5, left - GAP + 0.5), ylim=(low + 1.9, -1.8))
    axis.axis("off")
    return figure


def _draw_table(axis: Any, table: Table, left: float, top: float, known: bool, frame: str, thick: float) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = table.values.shape
    cells = [(row, column, top + row * CELL) for row in range(rows) for column in range(columns)]
    if table.bias is not None:
        cells += [(rows, column, top + (rows + 0.4) * CELL) for column in range(columns)]
    for row, column, upper in cells:
        axis.add_patch(Rectangle((left + column, upper), 1, CELL, facecolor="none", edgecolor=INK, linewidth=0.5))
        value = table.values[row, column] if row < rows or table.bias is None else table.bias[column]
        if known:
            centred = {"ha": "center", "va": "center", "color": table.colour(row, column), "fontsize": 10}
            axis.text(left + column + 0.5, upper + CELL / 2, f"{value:g}", **centred)
    if thick:
        size = columns + 0.3, table.height + 0.3
        corner = left - 0.15, top - 0.15
        axis.add_patch(Rectangle(corner, *size, facecolor="none", edgecolor=frame, linewidth=thick))


# Where the parts of a block are drawn. The main line is at the height 0, the branches are above it.
BRANCH = 1.25
PARTS = {"token_norm": 2.6, "token_mixing": 5.0, "channel_norm": 10.2, "channel_mixing": 12.85}
HALF = {name: 0.084 * len(name) + 0.14 for name in PARTS}  # of a box's width
X, SPLIT_1, PLUS_1, U, SPLIT_2, PLUS_2, Y = 0.0, 0.9, 6.7, 7.7, 8.5, 14.7, 15.7


def draw_block() -> Any:
    """The block as a diagram, forward, with the shapes of its activations and of its hidden layers."""
    figure, axis = new_figure(width=8, height=2.3)
    _draw_parts(axis, FORWARD, +1, lit=())
    arrow = "\N{RIGHTWARDS ARROW}"
    for place in (X, U, Y):
        axis.text(place, -0.4, "(S, B, C)", **_text(INK, "top"))
    for name, outer, hidden, axis_name in (
        ("token_mixing", "S", "DS", "tokens"),
        ("channel_mixing", "C", "DC", "channels"),
    ):
        said = f"{axis_name}: {outer} {arrow} {hidden} {arrow} {outer}"
        axis.text(PARTS[name], BRANCH + 0.45, said, **_text(INK, "bottom"))
    axis.axis("off")
    return figure


def block_steps(block: MixerBlock, x: Array, dy: Array) -> list[Step]:
    """dy on its way back through a block, with the shape and the typical size (root mean square) at each place.

    block  one that mixes tokens
    x, dy  (S, B, C)
    """
    norm: Any = block.token_norm
    normed, token_norm = norm.forward(x)  # (S, B, C)
    branch, token_mixing = block.token_mixing.forward(normed)
    u = x + branch  # (S, B, C)
    normed, channel_norm = block.channel_norm.forward(u)
    _, channel_mixing = block.channel_mixing.forward(normed)
    block.parameters.zero_gradients()

    flow: dict[str, Array] = {"dy": dy}
    steps: list[Step] = []

    def step(lit: Collection[str], said: str) -> None:
        steps.append((_draw_flow(flow, lit), said))

    step(
        {"dy"},
        f"dy {dy.shape} arrives at the end of the block. A typical number in it has the size {_size(dy)} here.",
    )
    step(
        {"dy", "straight 2", "into channel_mixing"},
        "At the plus, y = u + branch. Both have the slope 1, so the same dy goes both ways: straight on, and into the "
        "branch. Nothing is divided.",
    )
    flow["channel_mixing"] = block.channel_mixing.backward(dy, channel_mixing)
    step(
        {"channel_mixing"},
        f"channel_mixing: out comes the gradient of its input, {flow['channel_mixing'].shape}, of the size "
        f"{_size(flow['channel_mixing'])}. On the way it adds {_added(block, 'channel_mixing')}.",
    )
    flow["channel_norm"] = block.channel_norm.backward(flow["channel_mixing"], channel_norm)
    step(
        {"channel_norm", "out of channel_norm"},
        f"channel_norm: the gradient of its input has the size {_size(flow['channel_norm'])}. On the way it adds "
        f"{_added(block, 'channel_norm')}.",
    )
    flow["du"] = dy + flow["channel_norm"]
    step(
        {"du", "straight 2", "out of channel_norm"},
        f"u was used twice, so two gradients arrive here and add up: du = dy + what came through the branch. "
        f"Shape {u.shape}, size {_size(flow['du'])}.",
    )
    step(
        {"du", "straight 1", "into token_mixing"},
        "The same again at the first plus, u = x + branch: du goes straight on, and into the branch.",
    )
    flow["token_mixing"] = block.token_mixing.backward(flow["du"], token_mixing)
    step(
        {"token_mixing"},
        f"token_mixing: the gradient of its input has the size {_size(flow['token_mixing'])}. On the way it adds "
        f"{_added(block, 'token_mixing')}.",
    )
    flow["token_norm"] = norm.backward(flow["token_mixing"], token_norm)
    step(
        {"token_norm", "out of token_norm"},
        f"token_norm: the gradient of its input has the size {_size(flow['token_norm'])}. On the way it adds "
        f"{_added(block, 'token_norm')}.",
    )
    flow["dx"] = flow["du"] + flow["token_norm"]
    step(
        {"dx", "straight 1", "out of token_norm"},
        f"dx = du + what came through the branch. Shape {x.shape}, size {_size(flow['dx'])}: dy has arrived whole, and "
        "each branch has added its part.",
    )
    return steps


def _size(values: Array) -> str:
    return f"{np.sqrt(np.mean(np.square(values, dtype=np.float64))):.2f}"


def _added(block: MixerBlock, part: str) -> str:
    gradients = block.parameters.part(part)
    shapes = [f"d{name} {gradients.gradient(name).shape}" for name in gradients]
    return ", ".join(shapes[:-1]) + f" and {shapes[-1]}"


def _draw_flow(flow: dict[str, Array], lit: Collection[str]) -> Any:
    """The block with the sizes that have been found, and this step's arrows thick."""
    figure, axis = new_figure(width=8, height=2.5)
    _draw_parts(axis, BACKWARD, -1, lit)
    for name, place in (("dx", X), ("du", U), ("dy", Y)):
        if name in flow:
            axis.text(place, -0.4, f"{name}\nsize {_size(flow[name])}", **_text(BACKWARD, "top"))
    for name, place in PARTS.items():
        if name in flow:  # what comes out of the part, on its left
            left = place - HALF[name] - 0.2
            axis.text(left, BRANCH + 0.45, f"size {_size(flow[name])}", **_text(BACKWARD, "bottom"))
    axis.axis("off")
    return figure


def _text(colour: str, upright: str = "center") -> dict[str, Any]:
    return {"ha": "center", "va": upright, "color": colour, "fontsize": 9}


def _draw_parts(axis: Any, colour: str, direction: int, lit: Collection[str]) -> None:
    """Boxes, sums and arrows; direction is +1 for arrows as forward goes, -1 for the way back."""
    for name, place in PARTS.items():
        thick = 2.6 if name in lit else 1.2
        box = {"boxstyle": "round,pad=0.35", "facecolor": "none", "edgecolor": colour, "linewidth": thick}
        axis.text(place, BRANCH, name, bbox=box, **_text(colour))
    for place in (PLUS_1, PLUS_2):
        axis.plot(place, 0, "o", markersize=15, markerfacecolor="none", markeredgecolor=INK)
        axis.text(place, -0.02, "+", ha="center", va="center", color=INK, fontsize=13)
    for place, said in ((X, "x"), (U, "u"), (Y, "y")):
        axis.text(place, 0, said, ha="center", va="center", color=colour, fontsize=12)
    gap = 0.3  # from the middle of a letter or a sum
    paths: dict[str, list[tuple[float, float]]] = {
        "dx": [(X + gap, 0), (SPLIT_1, 0)],
        "straight 1": [(SPLIT_1, 0), (PLUS_1 - gap, 0)],
        "du": [(PLUS_1 + gap, 0), (U - gap, 0)],
        "du ": [(U + gap, 0), (SPLIT_2, 0)],
        "straight 2": [(SPLIT_2, 0), (PLUS_2 - gap, 0)],
        "dy": [(PLUS_2 + gap, 0), (Y - gap, 0)],
    }
    for split, plus, norm, mixing in (
        (SPLIT_1, PLUS_1, "token_norm", "token_mixing"),
        (SPLIT_2, PLUS_2, "channel_norm", "channel_mixing"),
    ):
        left, right = PARTS[norm], PARTS[mixing]
        paths[f"out of {norm}"] = [(split, 0), (split, BRANCH), (left - HALF[norm], BRANCH)]
        paths[mixing] = [(left + HALF[norm], BRANCH), (right - HALF[mixing], BRANCH)]
        paths[f"into {mixing}"] = [(right + HALF[mixing], BRANCH), (plus, BRANCH), (plus, 0.27)]
    for name, points in paths.items():
        marked = name.strip() in lit
        ink, thick = (colour, 2.6) if marked else (INK, 1.0)
        points = points[::direction]
        axis.plot(*zip(*points[:-1], strict=True), color=ink, linewidth=thick)  # the last piece is the arrow
        head = {"arrowstyle": "-|>", "color": ink, "linewidth": thick, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", points[-1], points[-2], arrowprops=head)
    axis.set(xlim=(X - 0.8, Y + 0.8), ylim=(-1.3, BRANCH + 1.0))
