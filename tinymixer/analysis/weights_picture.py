"""Draws what a Mixer's weights look like: the hidden units of token mixing, and the filters of the stem.

As in the paper's figures 5 to 7 (Mixer, section 3.5 and appendix D): a unit of token mixing has a weight for each
token, so it is an image of the patch grid; a filter of the stem has a weight for each value of a patch, so it is a
small picture.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import plain_settings, save_picture, transparent_figure
from tinymixer.analysis.token_mixing_weights import as_images, opposite_pairs
from tinymixer.errors import ConfigError
from tinymixer.models import LinearMixer, MlpMixer, Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR_MAP = "RdBu_r"  # of one number for each place: red above zero, blue below, white at zero
PANEL = 4.6  # inches a panel is wide
HIGHEST_DPI = 400
EXPLAINED = (
    "Each unit of token mixing stands beside the one nearest to its opposite; coarse patterns come first. "
    "Each image is scaled to its own largest weight."
)


def draw_weights(model: Model, path: Path, blocks: int = 2) -> list[str]:
    """Draw the token mixing of the first `blocks` blocks, and the stem's filters, into a PNG file.

    Returns sentences about what there was not to draw. Raises ConfigError for a model other than MlpMixer and
    LinearMixer and where a number of blocks is impossible, CheckpointError where the file cannot be written.
    """
    with plain_settings():
        figure, notes = _figure(model, blocks)
        save_picture(figure, path)
    return notes


def _figure(model: Model, blocks: int) -> tuple["Figure", list[str]]:
    panels, notes = panels_of(model, blocks)
    widest = max(picture.shape[1] for _, picture in panels)
    tallest = max(picture.shape[0] / picture.shape[1] for _, picture in panels)
    dots = min(HIGHEST_DPI, max(120, math.ceil(1.1 * widest / PANEL)))  # a dot at least for each weight
    figure = transparent_figure(PANEL * len(panels), PANEL * tallest + 0.5, dots)
    layout: Any = figure.get_layout_engine()
    layout.set(wspace=0.06)
    for axes, (title, picture) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, color=INK, fontsize=9)
        axes.set_axis_off()
        axes.set_anchor("N")
    words = EXPLAINED if len(panels) > 1 else EXPLAINED.partition("first. ")[2]
    figure.text(0.01, 0.005, words, color=INK, fontsize=7, va="bottom")
    return figure, notes


def panels_of(model: Model, blocks: int = 2) -> tuple[list[tuple[str, np.ndarray]], list[str]]:
    """The panels of the picture, (title, RGBA image from 0 to 1), and sentences about what has no weights to draw."""
    if not isinstance(model, MlpMixer | LinearMixer):
        raise ConfigError(
            f"there is a picture of the weights of mlp_mixer and linear_mixer, not of {type(model).__name__}"
        )
    count = len(model.blocks)
    if blocks < 1:
        raise ConfigError(f"at least 1 block is drawn, got {blocks}")
    down, across = model.config.grid
    panels, notes = [], []
    for index in range(min(blocks, count)):
        try:
            units = as_images(model, index)  # (DS, down, across)
        except ConfigError:
            notes.append("token mixing has no weights per token in this model: the stem's filters are drawn alone")
            break
        title = f"block {index}, token mixing: {len(units)} units of {down} x {across} tokens"
        panels.append((title, mosaic(coloured(units[in_pairs(units)]), pairs=True)))
    filters = stem_filters(model)
    size = filters.shape[1]
    panels.append((f"stem: {len(filters)} filters of {size} x {size} pixels", mosaic(coloured(filters))))
    return panels, notes


def stem_filters(model: MlpMixer | LinearMixer) -> np.ndarray:
    """The stem's filters, coarse ones first: (C, P, P, channels), or as large as its windows where these overlap"""
    weight = model.backend.to_numpy(model.stem.parameters["weight"])  # (P*P*channels, C)
    size = math.isqrt(len(weight) // model.config.in_channels)
    filters = weight.T.reshape(-1, size, size, model.config.in_channels)
    return filters[np.argsort(fineness(filters), kind="stable")]


def in_pairs(units: np.ndarray) -> np.ndarray:
    """An order of units (D, height, width): each beside the one nearest to its opposite, coarse patterns first; (D,)"""
    fine = fineness(units)
    pairs = [sorted(pair[:2], key=lambda unit: fine[unit]) for pair in opposite_pairs(units)] if len(units) > 1 else []
    pairs.sort(key=lambda pair: fine[pair].mean())
    order = [unit for pair in pairs for unit in pair]
    return np.array(order + sorted(set(range(len(units))) - set(order)))


def fineness(images: np.ndarray) -> np.ndarray:
    """How fine the pattern of each image is: (D, height, width[, channels]) -> (D,), from 0, even, to about 0.7

    The mean of the spatial frequencies, in cycles a place, weighted by their power.
    """
    height, width = images.shape[1:3]
    power = np.abs(np.fft.fft2(images.astype(np.float64), axes=(1, 2))) ** 2  # (D, height, width[, channels])
    power = power.reshape(len(images), height, width, -1).sum(axis=3)  # (D, height, width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))  # (height, width)
    total = power.sum(axis=(1, 2))
    return (power * frequency).sum(axis=(1, 2)) / np.where(total > 0, total, 1)


def coloured(images: np.ndarray) -> np.ndarray:
    """Weights as colours: (D, height, width) or (D, height, width, channels) -> (D, height, width, 4), RGBA, 0 to 1.

    Each image is scaled to its own largest weight, and zero is in the middle: of the colour map, or grey where three
    channels are red, green and blue. Any other number of channels is averaged to one.
    """
    from matplotlib import colormaps

    weights = images.astype(np.float64)
    if weights.ndim == 4 and weights.shape[3] != 3:
        weights = weights.mean(axis=3)
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    largest = np.where(largest > 0, largest, 1).reshape(-1, *[1] * (weights.ndim - 1))
    shades = 0.5 + 0.5 * weights / largest  # 0 to 1
    if shades.ndim == 3:
        return np.asarray(colormaps[COLOUR_MAP](shades))
    return np.concatenate([shades, np.ones((*shades.shape[:3], 1))], axis=3)


def mosaic(images: np.ndarray, pairs: bool = False) -> np.ndarray:
    """Images (D, height, width, 4) beside and below each other, one place apart, transparent between.

    pairs   there is another place between one pair of images and the next in a row
    """
    count, height, width = images.shape[:3]
    columns = columns_for(count, height + 1, width + 1)
    lefts = [column * (width + 1) + (column // 2 if pairs else 0) for column in range(columns)]
    rows = -(-count // columns)
    picture = np.zeros((rows * (height + 1) - 1, lefts[-1] + width, 4))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 1), lefts[index % columns]
        picture[top : top + height, left : left + width] = image
    return picture


def columns_for(count: int, height: int, width: int) -> int:
    """How many images of that size stand in a row: an even number, so that the whole is about as high as wide.

    One that fills all rows is preferred where it is near enough.
    """
    ideal = math.sqrt(count * height / width)
    even = range(2, max(count, 2) + 1, 2)
    full = [columns for columns in even if count % columns == 0 and 0.75 < columns / ideal < 1.34]
    return min(count, min(full or even, key=lambda columns: abs(math.log(columns / ideal))))
