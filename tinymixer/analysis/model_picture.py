"""Draws a model for a lesson: one image, the model's parts in a row, and the probabilities of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import text_width, transparent_figure
from tinymixer.analysis.model_parts import COLOUR_OF, Box, ModelParts
from tinymixer.analysis.parts_of_models import parts_of
from tinymixer.errors import ShapeError
from tinymixer.models import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sizes in points.
FONT, PADDING, LINE = 8.0, 3.6, 9.8
ARROW, MARGIN = 17.0, 8.0  # the least length of an arrow; from the dotted frame to a box in it, and from the edges
WIDTH, HEIGHT, IMAGE, BARS = 576.0, 151.0, 86.0, 62.0  # of the figure (wider where a row is long), the image, the bars


def model_picture(
    model: Any,
    image: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> "Figure":
    """Draw an image (in its patches, where the model has any), the model's parts in their order, and the probabilities.

    model           a model or a configuration that `parts_of` knows
    image           uint8 (height, width, channels), one or three channels
    probabilities   (K,), one per class name

    Returns a Matplotlib figure with a transparent background; needs Matplotlib. Raises ShapeError for sizes that do not
    fit, ConfigError for a model that it does not know.
    """
    parts = parts_of(model)
    config = model.config if isinstance(model, Model) else model
    height, width, channels = image.shape
    size = getattr(config, "patch_size", 0)
    if channels not in (1, 3) or (size and (height % size or width % size)):
        whole = f" of whole patches of {size} x {size}" if size else ""
        raise ShapeError(f"expected an image{whole} with 1 or 3 channels, got {image.shape}")
    if probabilities.shape != (len(class_names),):
        raise ShapeError(f"expected probabilities ({len(class_names)},), one per class, got {probabilities.shape}")
    row, names = _row(parts), max(text_width(name, FONT) for name in class_names) + MARGIN
    least = sum(map(_width, row)) + ARROW * (len(row) + 1)
    total = max(WIDTH, IMAGE + least + names + BARS + 4 * MARGIN)
    figure = transparent_figure(total / 72, HEIGHT / 72, 100)
    figure.set_layout_engine("none")
    room = total - IMAGE - names - BARS - 4 * MARGIN  # for the row, with the arrows before and after it
    _draw_image(_axes(figure, MARGIN, MARGIN, IMAGE, HEIGHT - 2 * MARGIN - 14), image, size)
    axes = _axes(figure, MARGIN + IMAGE, 0, room, HEIGHT)
    axes.set(xlim=(0, room), ylim=(-HEIGHT / 2, HEIGHT / 2))
    axes.set_axis_off()
    _draw_row(axes, row, ARROW + (room - least) / (len(row) + 1))
    _draw_probabilities(_axes(figure, total - 2 * MARGIN - BARS, 22, BARS, HEIGHT - 44), probabilities, class_names)
    return figure


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Axes at that place of the figure, in points."""
    across, down = (72 * inches for inches in figure.get_size_inches())
    return figure.add_axes((left / across, bottom / down, width / across, height / down), facecolor="none")


@dataclass(frozen=True)
class _Frame:
    """A block in the row: the boxes in its dotted frame, and the words above."""

    words: str
    boxes: tuple[Box, ...]


def _row(parts: ModelParts) -> list[Box | _Frame]:
    """The parts with letters, and in the place of equal blocks a frame with what mixes in one."""
    row: list[Box | _Frame] = []
    for box in parts.chain:
        if box.letters:
            row.append(box)
        elif box.blocks:
            mixing = tuple(replace(inner, letters="") for inner in parts.blocks[0].boxes if inner.mixes)
            row.append(_Frame(box.name, mixing))
    return row


def _width(part: Box | _Frame) -> float:
    """Width of a part of the row; between the boxes of a frame is an arrow of the least length."""
    if isinstance(part, _Frame):
        return sum(map(_width, part.boxes)) + ARROW * (len(part.boxes) - 1) + 2 * MARGIN
    return max(text_width(line, FONT) for line in _lines(part)) + 2 * PADDING


def _lines(box: Box) -> list[str]:
    return [*box.words.split("\n"), *([box.letters] if box.letters else [])]


def _draw_row(axes: "Axes", row: Sequence[Box | _Frame], arrow: float) -> None:
    """Draw the row from left to right, with arrows of that length between its parts."""
    x = 0.0
    for index, part in enumerate(row):
        if index:
            _draw_arrow(axes, x, x + arrow)
        x += arrow
        if isinstance(part, Box):
            _draw_box(axes, part, x)
        else:
            _draw_frame(axes, part, x)
        x += _width(part)


def _draw_frame(axes: "Axes", frame: _Frame, left: float) -> None:
    right, edge = left + _width(frame), 40.0
    axes.plot([left, right, right, left, left], [-edge, -edge, edge, edge, -edge], ":", color=INK, linewidth=1)
    axes.text((left + right) / 2, edge + 12, frame.words, **_WORDS)
    x = left + MARGIN
    for index, box in enumerate(frame.boxes):
        if index:
            _draw_arrow(axes, x, x + ARROW)
            x += ARROW
        _draw_box(axes, box, x)
        x += _width(box)


def _draw_box(axes: "Axes", box: Box, left: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    width, height = _width(box), len(_lines(box)) * LINE + 2 * PADDING
    style: Any = {"boxstyle": "round,pad=0,rounding_size=3", "facecolor": "none", "edgecolor": COLOUR_OF[box.mixes]}
    axes.add_patch(FancyBboxPatch((left, -height / 2), width, height, **style))
    axes.text(left + width / 2, 0, "\n".join(_lines(box)), **_WORDS)


def _draw_arrow(axes: "Axes", start: float, stop: float) -> None:
    axes.annotate("", (stop, 0), (start, 0), arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 2, "shrinkB": 2})


_WORDS: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": FONT, "color": INK}


def _draw_image(axes: "Axes", image: np.ndarray, patch_size: int) -> None:
    height, width, channels = image.shape
    axes.imshow(image[..., 0] if channels == 1 else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    if not patch_size:
        axes.set_title("image", color=INK, fontsize=9)
        return
    for edge in range(patch_size, height, patch_size):
        axes.axhline(edge - 0.5, color=COLOURS[1], linewidth=1)
    for edge in range(patch_size, width, patch_size):
        axes.axvline(edge - 0.5, color=COLOURS[1], linewidth=1)
    count = (height // patch_size) * (width // patch_size)
    axes.set_title(f"{count} patches" if count > 1 else "1 patch", color=INK, fontsize=9)


def _draw_probabilities(axes: "Axes", probabilities: np.ndarray, class_names: Sequence[str]) -> None:
    axes.barh(range(len(class_names)), probabilities, color=COLOURS[0])
    axes.set_yticks(range(len(class_names)), list(class_names))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_title("probability", color=INK, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
