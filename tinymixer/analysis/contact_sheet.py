"""A contact sheet of an augmentation: what each transform alone, and all of them together, make of a few images."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.analysis.curves import INK
from tinymixer.analysis.figures import plain_settings, save_picture, transparent_figure
from tinymixer.data import Augmentation
from tinymixer.data.batches import make_batch
from tinymixer.data.transforms.mixing import draw_mix, mix_images
from tinymixer.data.transforms.pipeline import POLICIES, Use
from tinymixer.draws import Draws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCH = 0.85  # side of an image


def contact_rows(
    images: np.ndarray, augmentation: Augmentation, seed: int = 0, epoch: int = 0
) -> list[tuple[str, np.ndarray]]:
    """A title and a row of images, uint8 (n, height, width, channels), for every part of the augmentation.

    The first row has the images as they are, the last what training sees. Each row draws the numbers that training
    would draw in the first step of that epoch.
    """
    weak = {"crop_padding": augmentation.crop_padding, "flip": augmentation.flip, "cutout": augmentation.cutout}
    parts = [(f"{name} = {value}", Augmentation.from_dict({name: value})) for name, value in weak.items() if value]
    parts += [(str(use), Augmentation(transforms=str(use))) for use in map(always, augmentation.uses)]
    if parts:
        parts.append(("all together", augmentation))
    rows = [("as they are", images)]
    rows += [(title, _augmented(images, part, seed, epoch)) for title, part in parts]
    for name, alphas in (("mixup", (augmentation.mixup, 0.0)), ("CutMix", (0.0, augmentation.cutmix))):
        mix = draw_mix(*alphas, len(images), images.shape[1], images.shape[2], seed, epoch, 0)
        if mix is not None:
            seen = _augmented(images, augmentation, seed, epoch).astype(np.float32)
            mixed = mix_images(seen, np.roll(seen, -mix.shift, axis=0), mix)
            rows.append((f"{name}, {100 * mix.share:.0f} % its own", np.rint(mixed).astype(np.uint8)))
    return rows


def always(use: Use) -> Use:
    """The transform for every image, where training applies it to a share of them."""
    return use if use.name in POLICIES else dataclasses.replace(use, rate=1.0)


def _augmented(images: np.ndarray, augmentation: Augmentation, seed: int, epoch: int) -> np.ndarray:
    """What training would see, as uint8 images."""
    indices, channels = np.arange(len(images)), images.shape[3]
    middle = np.full(channels, 0.5)
    draws = Draws(seed, epoch, 0, indices)
    batch = make_batch(images, indices, augmentation, draws, middle, middle)  # -1 to 1
    return np.rint(np.clip((batch + 1) / 2, 0, 1) * 255).astype(np.uint8)


def draw_contact_sheet(rows: list[tuple[str, np.ndarray]]) -> "Figure":
    """Draw the rows below each other, with their titles on the left. Needs Matplotlib."""
    count = len(rows[0][1])
    figure = transparent_figure(1.9 + INCH * count, INCH * len(rows))
    grid = figure.subplots(len(rows), count, squeeze=False)
    for (title, images), line in zip(rows, grid, strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return figure


def save_contact_sheet(rows: list[tuple[str, np.ndarray]], path: Path) -> Path:
    """Draw the rows into a PNG file and return its path.

    Raises CheckpointError when the file cannot be written; an older file of that name then stays.
    """
    with plain_settings():
        save_picture(draw_contact_sheet(rows), path)
    return path
