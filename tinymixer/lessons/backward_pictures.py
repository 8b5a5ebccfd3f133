"""Backward passes step by step, on numbers small enough to follow: the pictures and sentences for `show_steps`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.lessons.pictures import draw_numbers, in_brackets, new_figure

FORWARD, BACKWARD = COLOURS[0], COLOURS[4]
Steps = list[tuple[Any, str]]

# --- Linear: tables ---


@dataclass(frozen=True)
class _Table:
    """A table of numbers, its place in the picture (left, top) in cells, and what it is called."""

    name: str
    values: Any
    left: float
    top: float


def linear_steps(x: Any, weight: Any, dy: Any) -> Steps:
    """dy through Linear: which numbers meet in dbias, dweight and dx. x (B, I), weight (I, O), dy (B, O)."""
    dx, dweight, dbias = ops.linear_backward(dy, (x, weight))
    (images, inputs), outputs = x.shape, weight.shape[1]
    second, third = inputs + 1.8, inputs + outputs + 3.6  # where the columns of tables begin
    below = max(inputs, images) + 1.7  # where the gradients begin, each below what it belongs to
    tables = {
        "x": _Table("x (B, I)", x, 0, 0),
        "weight": _Table("weight (I, O)", weight, second, 0),
        "dy": _Table("dy (B, O)", dy, third, 0),
        "dx": _Table("dx (B, I)", dx, 0, below),
        "dweight": _Table("dweight (I, O)", dweight, second, below),
        "dbias": _Table("dbias (O,)", dbias[None], third, below),
    }
    everywhere = {name: np.ones(table.values.shape, dtype=bool) for name, table in tables.items()}
    nowhere = {name: np.zeros_like(cells) for name, cells in everywhere.items()}

    def step(found: dict[str, Any], marked: dict[str, Any]) -> Any:
        """A picture with the gradients' cells that have been found, and the cells marked that meet in this step."""
        known = {name: everywhere[name] for name in ("x", "weight", "dy")} | found
        return _tables(tables, {**nowhere, **known}, {**nowhere, **_cells(nowhere, marked)})

    steps = [
        (
            step({}, {"dy": np.s_[:, :]}),
            "Known: x and weight, which the forward pass left in the cache, and dy, which comes from the layers after "
            "this one. Wanted: dx, in the shape of x; dweight, in the shape of weight; and dbias, a number per output.",
        )
    ]
    found: dict[str, Any] = {}
    o = outputs - 1
    found |= _cells(nowhere, {"dbias": np.s_[:, o]})
    steps.append(
        (
            step(found, {"dy": np.s_[:, o], "dbias": np.s_[:, o]}),
            f"dbias[{o}] is the sum of column {o} of dy, over the rows: {_sum(dy[:, o])} = {dbias[o]:g}.",
        )
    )
    found["dbias"] = everywhere["dbias"]
    steps.append((step(found, {"dy": np.s_[:, :], "dbias": np.s_[:, :]}), "dbias: every column of dy is summed."))
    for i, column in ((0, 0), (inputs - 1, 1)):
        first = _cells(nowhere, {"dweight": np.s_[i, column]})["dweight"]
        found["dweight"] = found.get("dweight", nowhere["dweight"]) | first
        steps.append(
            (
                step(found, {"x": np.s_[:, i], "dy": np.s_[:, column], "dweight": np.s_[i, column]}),
                f"dweight[{i}, {column}]: column {i} of x meets column {column} of dy, summed over the rows: "
                f"{_products(x[:, i], dy[:, column])} = {dweight[i, column]:g}.",
            )
        )
    found["dweight"] = everywhere["dweight"]
    steps.append(
        (
            step(found, {"x": np.s_[:, :], "dy": np.s_[:, :], "dweight": np.s_[:, :]}),
            "dweight: every column of x meets every column of dy. That is the product x.T @ dy, (I, B) @ (B, O).",
        )
    )
    for n, i in ((0, 0), (images - 1, inputs - 1)):
        found["dx"] = found.get("dx", nowhere["dx"]) | _cells(nowhere, {"dx": np.s_[n, i]})["dx"]
        steps.append(
            (
                step(found, {"dy": np.s_[n, :], "weight": np.s_[i, :], "dx": np.s_[n, i]}),
                f"dx[{n}, {i}]: row {n} of dy meets row {i} of weight, summed over the outputs: "
                f"{_products(dy[n], weight[i])} = {dx[n, i]:g}.",
            )
        )
    found["dx"] = everywhere["dx"]
    steps.append(
        (
            step(found, {"dy": np.s_[:, :], "weight": np.s_[:, :], "dx": np.s_[:, :]}),
            "dx: every row of dy meets every row of weight. That is the product dy @ weight.T, (B, O) @ (O, I).",
        )
    )
    return steps


def _cells(nowhere: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """For each table the chosen cells as an array of True and False."""
    marked = {}
    for name, where in chosen.items():
        marked[name] = nowhere[name].copy()
        marked[name][where] = True
    return marked


def _tables(tables: dict[str, _Table], known: dict[str, Any], marked: dict[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    figure, axis = new_figure(width=8, height=4.2)
    for name, table in tables.items():
        gradient = name.startswith("d")
        colour = BACKWARD if gradient else FORWARD
        columns = table.values.shape[1]
        here = known[name].any()
        title = colour if here else INK
        axis.text(table.left + columns / 2, table.top - 0.25, table.name, ha="center", va="bottom", color=title)
        draw_numbers(axis, table.values, table.left, table.top, known[name], colour)
        if marked[name].any():  # always a rectangle of cells: a row, a column, one cell or all
            first, last = np.argwhere(marked[name])[[0, -1]]
            (down, across), (height, width) = first, last - first + 1
            corner = table.left + across, table.top + down
            axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=COLOURS[1], linewidth=3.5))
    right = max(table.left + table.values.shape[1] for table in tables.values())
    bottom = max(table.top + table.values.shape[0] for table in tables.values())
    axis.set(xlim=(-0.2, right + 0.2), ylim=(bottom + 0.2, -1.1))
    axis.axis("off")
    return figure


# --- GELU: points on a curve ---


def gelu_steps(x: Any, dy: Any) -> Steps:
    """dy through GELU (the tanh form): each element is multiplied by the slope at its own input. x, dy (elements,)."""
    y, cache = ops.gelu_tanh_forward(x)
    slopes, dx = ops.gelu_tanh_backward(np.ones_like(x), cache), ops.gelu_tanh_backward(dy, cache)
    columns = {"x": x, "y": y, "slope": slopes, "dy": dy, "dx": dx}
    inputs = ", ".join(f"{number:g}" for number in x)
    steps = [
        (
            _curve(columns, 0, None),
            f"Forward: each of the inputs {inputs} becomes an output y, on its own. From the layers after this one "
            "comes dy, the slope of the loss with respect to each output. (Numbers are rounded to three decimals.)",
        )
    ]
    for n in range(len(x)):
        slope = round(float(slopes[n]), 3)
        said = f"Backward: at x = {x[n]:g} the curve has the slope {slope:g}, so dx = dy * slope = "
        factors = f"{in_brackets(dy[n])} * {in_brackets(slope)}"
        steps.append((_curve(columns, n + 1, n), f"{said}{factors} = {_number(dx[n], 3)}."))
    said = "Each dy is multiplied by the slope at its own x. No element affects another, and nothing is summed."
    return [*steps, (_curve(columns, len(x), None), said)]


def _curve(columns: dict[str, Any], known: int, active: int | None) -> Any:
    """The curve with the inputs on it, a tangent at those whose dx is known, and the numbers in a table."""
    x, y, slopes = (columns[name] for name in ("x", "y", "slope"))
    figure, (curve, table) = new_figure(1, 2, width=8, height=3.3, width_ratios=[1, 1])
    across = np.linspace(-4, 4, 161)
    curve.plot(across, ops.gelu_tanh_forward(across)[0], color=FORWARD, linewidth=1.2)
    for n in range(known):
        ends = np.array([-0.8, 0.8]) / np.hypot(1, slopes[n])
        width = 4 if active in (n, None) else 1.5
        curve.plot(x[n] + ends, y[n] + slopes[n] * ends, color=BACKWARD, linewidth=width)
    for n in range(len(x)):
        curve.plot(x[n], y[n], "o", color=COLOURS[1] if n == active else FORWARD, markersize=9 if n == active else 6)
    curve.set(xlim=(-4, 4), ylim=(-1, 4), xlabel="x", ylabel="y", aspect="equal")
    for place, (name, values) in enumerate(columns.items()):
        colour = FORWARD if name in ("x", "y") else BACKWARD
        table.text(place, -1, name, ha="right", va="center", color=colour)
        for n, value in enumerate(values):
            if name in ("x", "y", "dy") or n < known:
                style: dict[str, Any] = {"color": colour, "fontweight": "bold" if n == active else "normal"}
                table.text(place, n, _number(value, 3), ha="right", va="center", **style)
    if active is not None:
        table.plot([-0.75, 4.15], [active + 0.45] * 2, color=COLOURS[1], linewidth=2)
    table.set(xlim=(-0.8, 4.2), ylim=(len(x) - 0.2, -1.5))
    table.axis("off")
    return figure


# --- LayerNorm and the loss: rows of numbers as bars ---


@dataclass(frozen=True)
class _Panel:
    """One row of numbers: what it is called, the numbers, whether it is a gradient, and what the step says."""

    title: str
    values: Any
    gradient: bool
    said: str


def layer_norm_steps(x: Any, scale: Any, dy: Any) -> Steps:
    """dy through LayerNorm, for one row: g, its three terms, and the factor in front. x, scale, dy (C,)."""
    _, (x_hat, inv_std, _) = ops.layer_norm_forward(x, scale, np.zeros_like(scale))
    dx, _, _ = ops.layer_norm_backward(dy[None], (x_hat[None], inv_std[None], scale))
    g, factor = dy * scale, float(np.squeeze(inv_std))
    mean, along = g.mean(), (g * x_hat).mean()
    panels = (
        _Panel(
            "x_hat",
            x_hat,
            False,
            f"Forward: the row x = ({_row(x)}) has become x_hat = ({_row(x_hat)}), with the factor "
            f"r = {factor:.3f}, one over the standard deviation.",
        ),
        _Panel(
            "g = dy * scale",
            g,
            True,
            f"Backward: dy = ({_row(dy)}) goes through the scale ({_row(scale)}) first. The first term is the "
            f"direct path, g = ({_row(g)}).",
        ),
        _Panel(
            "2nd term subtracted",
            g - mean,
            True,
            f"The second term, the path through the mean: the mean of g, {_number(mean)}, is subtracted from every "
            "element. What is left adds up to zero.",
        ),
        _Panel(
            "3rd term subtracted",
            g - mean - x_hat * along,
            True,
            f"The third term, the path through the variance: the mean of g * x_hat is {_number(along)}. x_hat times "
            "this number is subtracted. What is left has no part along x_hat either.",
        ),
        _Panel(
            "dx = r times that",
            dx[0],
            True,
            f"The factor in front, r = {factor:.3f}: dx = ({_row(dx[0])}). Its elements add up to zero, and so do "
            "their products with those of x_hat.",
        ),
    )
    return _revealed(panels, "channel")


def loss_steps(logits: Any, label: int, batch: int) -> Steps:
    """The loss of one image of a batch, forward and backward, to p - target. logits (K,)."""
    shifted = logits - logits.max()
    exponentials = np.exp(shifted)
    _, (log_p, target, _) = ops.softmax_cross_entropy_forward(logits[None], np.array([label]))
    p, target = np.exp(log_p[0]), target[0]
    dlogits = (p - target) / batch
    panels = (
        _Panel("logits z", logits, False, f"The logits of one image, whose label is {label}: z = ({_row(logits)})."),
        _Panel(
            "exp(z - largest)",
            exponentials,
            False,
            f"Forward: subtract the largest logit, {_number(logits.max())}, and take the exponentials. All are "
            f"positive, and they add up to {exponentials.sum():.2f}.",
        ),
        _Panel(
            "p",
            p,
            False,
            f"Divided by their sum they are probabilities. The label has {p[label]:.2f}, so the loss of this image is "
            f"-log {p[label]:.2f} = {-log_p[0, label]:.2f}.",
        ),
        _Panel(
            "target t",
            target,
            False,
            "The target is the label's one-hot row: 1 at the label, 0 elsewhere.",
        ),
        _Panel(
            "p - t",
            p - target,
            True,
            f"Backward: the gradient of this image's loss is p - t = ({_row(p - target)}). Only the label's is "
            "negative, and all of them add up to zero.",
        ),
        _Panel(
            "dlogits",
            dlogits,
            True,
            f"The loss of the batch is the mean over its {batch} images, so this image's share is "
            f"dlogits = ({_row(dlogits)}).",
        ),
    )
    return _revealed(panels, "class")


def _revealed(panels: Sequence[_Panel], counted: str) -> Steps:
    """A step for each panel, which shows it beside those before it."""
    return [(_bars(panels, number, counted), panel.said) for number, panel in enumerate(panels)]


def _bars(panels: Sequence[_Panel], last: int, counted: str) -> Any:
    figure, axes = new_figure(1, len(panels), width=8, height=2.6)
    lowest = min(0.0, *(panel.values.min() for panel in panels))
    highest = max(panel.values.max() for panel in panels)
    margin = 0.2 * (highest - lowest)
    for number, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        axis.set(ylim=(lowest - margin, highest + margin), xlim=(-0.7, len(panel.values) - 0.3))
        if number > last:
            axis.axis("off")
            continue
        colour = BACKWARD if panel.gradient else FORWARD
        places = np.arange(len(panel.values))
        axis.bar(places, panel.values, color=colour, alpha=1.0 if number == last else 0.55)
        axis.axhline(0, color=INK, linewidth=0.8)
        for place, value in zip(places, panel.values, strict=True):
            above = value >= 0
            y = value + (0.12 if above else -0.12) * margin
            axis.text(place, y, _number(value), ha="center", va="bottom" if above else "top", color=INK, fontsize=8)
        axis.set_title(panel.title, color=colour, fontsize=9, fontweight="bold" if number == last else "normal")
        axis.set_xticks(places)
        axis.set_yticks([])
        axis.set_xlabel(counted, fontsize=8)
        axis.spines[["left", "bottom"]].set_visible(False)
        axis.tick_params(length=0, labelsize=8)
    return figure


def _number(value: float, decimals: int = 2) -> str:
    """A number with so many decimals at most, and no minus before zero."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _row(values: Any) -> str:
    return ", ".join(_number(value) for value in values)


def _sum(values: Any) -> str:
    return " + ".join(map(in_brackets, values))


def _products(first: Any, second: Any) -> str:
    return " + ".join(f"{in_brackets(a)} * {in_brackets(b)}" for a, b in zip(first, second, strict=True))
