"""A Mixer as a picture: from one image, cut into patches, by the model's parts to the probabilities of the classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import transparent_figure
from tinymixer.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Each part: where its middle is, what it is called, the shape that it makes, its colour.
PARTS = (
    (0.0, "patches\n(S, B, P·P·channels)", INK),
    (1.5, "stem\n(S, B, C)", INK),
    (2.7, "token\nmixing", COLOURS[1]),
    (3.7, "channel\nmixing", COLOURS[0]),
    (4.9, "mean\n(B, C)", INK),
    (5.9, "head\n(B, K)", INK),
)
ARROWS = ((0.86, 1.1), (1.93, 2.22), (3.06, 3.3), (4.18, 4.57), (5.24, 5.58))
BLOCK = (2.22, 4.15)  # from where to where the dotted frame goes


def mixer_picture(
    image: np.ndarray, patch_size: int, blocks: int, probabilities: np.ndarray, class_names: Sequence[str]
) -> "Figure":
    """Draw an image with its patches, the parts of a Mixer that it passes through, and the classes' probabilities (K,).

    image: uint8 (height, width, channels), one or three channels. blocks: how many the model has.

    Returns a Matplotlib figure with a transparent background; needs Matplotlib. Raises ShapeError for sizes that do not
    fit.
    """
    height, width, channels = image.shape
    if height % patch_size or width % patch_size or channels not in (1, 3):
        raise ShapeError(f"expected an image of whole patches of {patch_size} x {patch_size}, got {image.shape}")
    if probabilities.shape != (len(class_names),):
        raise ShapeError(f"expected probabilities ({len(class_names)},), one per class, got {probabilities.shape}")
    figure = transparent_figure(8, 2.1, 100)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.4, 6.6, 1.3])
    right.set_facecolor("none")
    _draw_patches(left, image, patch_size)
    _draw_parts(middle, blocks)
    _draw_probabilities(right, probabilities, class_names)
    return figure


def _draw_patches(axes: "Axes", image: np.ndarray, patch_size: int) -> None:
    height, width, channels = image.shape
    axes.imshow(image[..., 0] if channels == 1 else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for edge in range(patch_size, height, patch_size):
        axes.axhline(edge - 0.5, color=COLOURS[1], linewidth=1)
    for edge in range(patch_size, width, patch_size):
        axes.axvline(edge - 0.5, color=COLOURS[1], linewidth=1)
    count = (height // patch_size) * (width // patch_size)
    axes.set_title(f"{count} patches" if count > 1 else "1 patch", color=INK, fontsize=9)
    axes.set_axis_off()


def _draw_parts(axes: "Axes", blocks: int) -> None:
    words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": INK}
    for x, text, colour in PARTS:
        box = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": colour}
        axes.text(x, 0, text, bbox=box, **words)
    for start, stop in ARROWS:
        axes.annotate("", (stop, 0), (start, 0), arrowprops={"arrowstyle": "->", "color": INK})
    (start, stop), edge = BLOCK, 0.75
    axes.plot([start, stop, stop, start, start], [-edge, -edge, edge, edge, -edge], ":", color=INK, linewidth=1)
    axes.text(sum(BLOCK) / 2, 1.0, f"a block, {blocks} times" if blocks > 1 else "a block", **words)
    axes.set(xlim=(-0.8, 6.4), ylim=(-1.3, 1.3))
    axes.set_axis_off()


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
