"""Draws a model for a page: its parts from top to bottom, and beside them one block of each kind.

The picture is narrow, so that it is legible on a telephone. Sizes below are points, which are the units of the axes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import plain_settings, save_picture, text_width, transparent_figure
from tinymixer.analysis.model_parts import BOTH, CHANNELS, COLOUR_OF, TOKENS, Block, Box, ModelParts, Sum
from tinymixer.analysis.parts_of_models import parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT, SMALL = 9.0, 7.5
LINE = 1.22  # height of a line of text, in heights of its letters
MARGIN, TOP, LEGEND = 6.0, 36.0, 22.0
CHAIN, PART, LANE = 140.0, 108.0, 66.0  # widths of the boxes of the network, of a block, and of a block's shortcut
PADDING, GAP, LONGEST_GAP = 5.0, 12.0, 26.0
FRAME, TITLE, RADIUS = 10.0, 16.0, 6.5  # margin in a block's frame, height of its title, radius of a sum's circle
KINDS_IN_A_COLUMN = 2
DOTS = 200  # per inch of a PNG


def draw_model(model: Any, path: Path) -> str:
    """Draw a model, or the model of a configuration, into an SVG or PNG file; return the picture in words.

    Its background is transparent, and words and lines are legible on white and on black. Raises ConfigError for a model
    that it does not know (see `parts_of`), CheckpointError where the file cannot be written.
    """
    parts = parts_of(model)
    with plain_settings():
        save_picture(_figure(parts), path, parts.in_words)
    return parts.in_words


def model_diagram(model: Any) -> "Figure":
    """The Matplotlib figure of such a picture. Raises ConfigError for a model that it does not know."""
    return _figure(parts_of(model))


def _figure(parts: ModelParts) -> "Figure":
    columns = [parts.blocks[i : i + KINDS_IN_A_COLUMN] for i in range(0, len(parts.blocks), KINDS_IN_A_COLUMN)]
    widths = [_frame_width(column) for column in columns]
    width = MARGIN + CHAIN + sum(2.5 * MARGIN + frame for frame in widths) + MARGIN
    columns_height = max(sum(_block_height(block) for block in column) + (len(column) - 1) * GAP for column in columns)
    boxes = sum(_height(box, CHAIN) for box in parts.chain)
    arrows = len(parts.chain) - 1
    gap = min(LONGEST_GAP, max(GAP, (columns_height - boxes) // arrows))
    height = TOP + max(columns_height, boxes + arrows * gap) + LEGEND + (LEGEND / 2 if parts.note else 0)

    figure = transparent_figure(width / 72, height / 72, DOTS)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    _text(axes, MARGIN, 11, parts.name, 11, ha="left", fontweight="bold")
    _text(axes, MARGIN, 24, f"{parts.parameters:,} parameters", SMALL, ha="left")
    _draw_chain(axes, parts.chain, gap)
    left = MARGIN + CHAIN
    for column, frame in zip(columns, widths, strict=True):
        left, y = left + 2.5 * MARGIN, TOP
        for block in column:
            _draw_block(axes, block, left, y, frame)
            y += _block_height(block) + GAP
        left += frame
    _draw_legend(axes, parts, height - 10)
    if parts.note:
        _text(axes, MARGIN, height - 10 - LEGEND / 2, parts.note, SMALL, ha="left")
    return figure


def _draw_chain(axes: "Axes", chain: Sequence[Box], gap: float) -> None:
    y = TOP
    for box in chain:
        if y > TOP:
            _arrow(axes, MARGIN + CHAIN / 2, y - gap, y)
        _draw_box(axes, box, MARGIN, y, CHAIN)
        y += _height(box, CHAIN) + gap


def _draw_block(axes: "Axes", block: Block, left: float, top: float, width: float) -> None:
    """A block's frame with its parts from top to bottom, the shortcuts at the right."""
    _rectangle(axes, left, top, width, _block_height(block), linestyle=":", edgecolor=INK)
    _text(axes, left + width / 2, top + 10, block.title, FONT)
    middle = left + FRAME + PART / 2
    y = top + TITLE
    for part in block.parts:
        if isinstance(part, Box):
            _arrow(axes, middle, y, y + GAP)
            _draw_box(axes, part, left + FRAME, y + GAP, PART)
        else:
            _draw_sum(axes, part, left, y, width)
        y += _part_height(part)
    _arrow(axes, middle, y, y + GAP)


def _draw_sum(axes: "Axes", part: Sum, left: float, top: float, width: float) -> None:
    """A branch from top to bottom, the way around it, and the circle where they are added."""
    middle, lane = left + FRAME + PART / 2, left + width - FRAME - (LANE / 2 if part.shortcut else 0)
    plus, fork = top + _part_height(part) - RADIUS, top + GAP / 3
    y = top
    for box in part.branch:
        _arrow(axes, middle, y, y + GAP + (GAP / 3 if y == top else 0))
        y += GAP + (GAP / 3 if y == top else 0)
        _draw_box(axes, box, left + FRAME, y, PART)
        y += _height(box, PART)
    _arrow(axes, middle, y, plus - RADIUS)
    if part.weight:
        _text(axes, middle + 5, (y + plus - RADIUS) / 2, f"x {part.weight}", SMALL, ha="left")
    down, inner = fork, sum(_height(box, LANE) for box in part.shortcut) + GAP * (len(part.shortcut) - 1)
    axes.plot([middle, lane], [fork, fork], color=INK, linewidth=0.9)
    if part.shortcut:
        y = (fork + plus - inner) / 2
        for box in part.shortcut:
            _arrow(axes, lane, down, y)
            _draw_box(axes, box, lane - LANE / 2, y, LANE)
            down = y + _height(box, LANE)
            y = down + GAP
    axes.plot([lane, lane], [down, plus], color=INK, linewidth=0.9)
    axes.annotate("", (middle + RADIUS, plus), (lane, plus), arrowprops=_ARROW)
    from matplotlib.patches import Circle

    axes.add_patch(Circle((middle, plus), RADIUS, facecolor="none", edgecolor=INK, linewidth=0.9))
    _text(axes, middle, plus, "+", FONT)


def _draw_legend(axes: "Axes", parts: ModelParts, y: float) -> None:
    """What the colours mean: those that the picture has."""
    boxes = [*parts.chain, *(box for block in parts.blocks for box in block.boxes)]
    x = MARGIN
    for mixes in (TOKENS, CHANNELS, BOTH):
        if any(box.mixes == mixes for box in boxes):
            words = "mixes " + {TOKENS: parts.places, CHANNELS: "channels", BOTH: f"{parts.places} and channels"}[mixes]
            _rectangle(axes, x, y - 4, 8, 8, edgecolor=COLOUR_OF[mixes])
            _text(axes, x + 12, y, words, SMALL, ha="left")
            x += 12 + text_width(words, SMALL) + 10


def _draw_box(axes: "Axes", box: Box, left: float, top: float, width: float) -> None:
    style = ":" if box.blocks else "-"
    _rectangle(axes, left, top, width, _height(box, width), edgecolor=COLOUR_OF[box.mixes], linestyle=style)
    y = top + PADDING
    for line, size in _lines(box, width):
        _text(axes, left + width / 2, y + size * LINE / 2, line, size)
        y += size * LINE


def _lines(box: Box, width: float) -> list[tuple[str, float]]:
    """The lines of a box of that width, each with the size of its letters."""
    size = FONT if width >= PART else SMALL
    lines = [(line, size) for line in _wrapped(box.name, width, size)]
    smaller = [*box.detail.split("\n"), box.shape]
    return [*lines, *((line, SMALL) for text in smaller for line in _wrapped(text, width, SMALL))]


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """The text in lines that fit into a box of that width."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width - 1.5 * PADDING:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _height(box: Box, width: float) -> float:
    return 2 * PADDING + LINE * sum(size for _, size in _lines(box, width))


def _part_height(part: Box | Sum) -> float:
    """Height of a part of a block, with the arrow before it."""
    if isinstance(part, Box):
        return GAP + _height(part, PART)
    branch = sum(GAP + _height(box, PART) for box in part.branch) + GAP / 3
    shortcut = sum(GAP + _height(box, LANE) for box in part.shortcut) + GAP
    return max(branch, shortcut) + GAP + 2 * RADIUS


def _block_height(block: Block) -> float:
    return TITLE + sum(map(_part_height, block.parts)) + GAP


def _frame_width(column: Sequence[Block]) -> float:
    wide = any(isinstance(part, Sum) and part.shortcut for block in column for part in block.parts)
    titles = max(text_width(block.title, FONT) for block in column) + 2 * PADDING
    return max(titles, 2 * FRAME + PART + (LANE + PADDING if wide else 1.5 * FRAME))


_ARROW = {
    "arrowstyle": "-|>,head_width=0.18,head_length=0.32",
    "color": INK,
    "linewidth": 0.9,
    "shrinkA": 0,
    "shrinkB": 0,
}


def _arrow(axes: "Axes", x: float, start: float, stop: float) -> None:
    axes.annotate("", (x, stop), (x, start), arrowprops=_ARROW)


def _rectangle(axes: "Axes", left: float, top: float, width: float, height: float, **style: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=3", "facecolor": "none"}
    axes.add_patch(FancyBboxPatch((left, top), width, height, clip_on=False, joinstyle="round", **look, **style))


def _text(axes: "Axes", x: float, y: float, text: str, size: float, **style: Any) -> None:
    words: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size, "color": INK}
    axes.text(x, y, text, **(words | style))
