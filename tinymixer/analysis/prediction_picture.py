"""Draws pictures, each beside the classes that a model takes it for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.figures import plain_settings, save_picture, transparent_figure
from tinymixer.errors import ConfigError
from tinymixer.models import Prediction
from tinymixer.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PICTURES = 24  # in one drawing
COLUMNS = 2
LONGEST_NAME = 34  # characters


def draw_predictions(
    images: Sequence[np.ndarray], predictions: Sequence[Prediction], titles: Sequence[str], top: int = 5
) -> "Figure":
    """Draw each picture, as the model sees it, with a bar for each of its `top` most probable classes.

    images   (H, W, channels) in 0..255, at most MOST_PICTURES

    Returns a Matplotlib figure with a transparent background; needs Matplotlib. Raises ConfigError for too many
    pictures, or none.
    """
    if not 0 < len(images) <= MOST_PICTURES:
        raise ConfigError(f"a drawing holds 1 to {MOST_PICTURES} pictures, got {len(images)}")
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = transparent_figure(5.6 * columns, 1.0 + 1.6 * rows if rows > 1 else 2.2)
    axes = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 1.6] * columns)
    for place in range(rows * columns):
        left, right = axes[place // columns][2 * (place % columns) :][:2]
        if place >= len(images):
            left.set_axis_off()
            right.set_axis_off()
            continue
        _draw_image(left, images[place], titles[place])
        _draw_bars(right, predictions[place], top)
    if (tta := predictions[0].tta) != "none":
        figure.supxlabel(f"with test-time augmentation ({tta})", color=INK, fontsize=8)
    return figure


def save_predictions(
    images: Sequence[np.ndarray], predictions: Sequence[Prediction], titles: Sequence[str], path: Path, top: int = 5
) -> None:
    """Draw the predictions into a file, PNG or another format that Matplotlib knows by the name's ending."""
    with plain_settings():
        save_picture(draw_predictions(images, predictions, titles, top), path)


def _draw_image(axes: Any, image: np.ndarray, title: str) -> None:
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    axes.imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_title(_short(title, 22), color=INK, fontsize=8, parse_math=False)
    axes.set_axis_off()


def _draw_bars(axes: Any, prediction: Prediction, top: int) -> None:
    best = prediction.best(top)
    axes.barh(range(len(best)), [share for _, share in best], color=COLOURS[0], alpha=0.55)
    for row, (name, share) in enumerate(best):
        text = f"{100 * share:.1f} %  {_short(name, LONGEST_NAME)}"
        axes.text(0.02, row, text, va="center", color=INK, fontsize=8, parse_math=False)
    axes.set_ylim(max(len(best), 3) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_facecolor("none")
    axes.set_axis_off()


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."
