"""Draws a model: one image cut into patches, the model's parts, and the probabilities of the classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import transparent_figure
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.models import LinearMixerConfig, MixerConfig, Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Each part: the x position of its centre, its name and the shape of its output.
BEFORE = ((0.0, "patches\n(S, B, P·P·channels)"), (1.5, "stem\n(S, B, C)"))
AFTER = ((4.9, "mean\n(B, C)"), (5.9, "head\n(B, K)"))
BLOCK = (2.22, 4.15)  # the left and right edges of the dotted frame
# In the block: the x position of each part's centre, and the arrows into, between and out of the parts.
TWO_PARTS = (2.7, 3.7), ((1.93, 2.22), (3.06, 3.3), (4.18, 4.57))
ONE_PART = (3.2,), ((1.93, 2.22), (4.18, 4.57))
TOKEN_WORDS = {
    "mlp": "token\nmixing",
    "linear": "token\nLinear",
    "pool": "token\npooling",
    "attention": "self-\nattention",
}

Part = tuple[str, str]  # its name, its colour


def mixer_picture(
    model: Model | MixerConfig | LinearMixerConfig,
    image: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> "Figure":
    """Draw an image with its patches, the parts of the model in their order, and the probabilities of the classes.

    model           an MlpMixer, a LinearMixer, or the configuration of one
    image           uint8 (height, width, channels), one or three channels
    probabilities   (K,), one per class name

    Returns a Matplotlib figure with a transparent background; needs Matplotlib. Raises ShapeError for sizes that do not
    fit, ConfigError for another model.
    """
    config = model.config if isinstance(model, Model) else model
    parts = _block_parts(config)
    size, (height, width, channels) = config.patch_size, image.shape
    if height % size or width % size or channels not in (1, 3):
        raise ShapeError(f"expected an image of whole patches of {size} x {size}, got {image.shape}")
    if probabilities.shape != (len(class_names),):
        raise ShapeError(f"expected probabilities ({len(class_names)},), one per class, got {probabilities.shape}")
    figure = transparent_figure(8, 2.1, 100)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.4, 6.6, 1.3])
    right.set_facecolor("none")
    _draw_patches(left, image, size)
    _draw_parts(middle, parts, config.num_blocks)
    _draw_probabilities(right, probabilities, class_names)
    return figure


def _block_parts(config: Any) -> list[Part]:
    """The parts of one block, in their order."""
    if isinstance(config, LinearMixerConfig):
        return [(TOKEN_WORDS["linear"], COLOURS[1]), ("channel\nLinear", COLOURS[0])]
    if not isinstance(config, MixerConfig):
        raise ConfigError(f"there is a picture of an MlpMixer and of a LinearMixer, got {type(config).__name__}")
    channel_mixing = ("channel\nmixing", COLOURS[0])
    if config.tokens == "none":
        return [channel_mixing]
    return [(TOKEN_WORDS.get(config.tokens, f"token\n{config.tokens}"), COLOURS[1]), channel_mixing]


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


def _draw_parts(axes: "Axes", parts: Sequence[Part], blocks: int) -> None:
    words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": INK}
    middles, arrows = TWO_PARTS if len(parts) == 2 else ONE_PART
    placed = [(x, text, colour) for x, (text, colour) in zip(middles, parts, strict=True)]
    for x, text, colour in [*placed, *((x, text, INK) for x, text in (*BEFORE, *AFTER))]:
        box = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": colour}
        axes.text(x, 0, text, bbox=box, **words)
    for start, stop in ((0.86, 1.1), *arrows, (5.24, 5.58)):
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
