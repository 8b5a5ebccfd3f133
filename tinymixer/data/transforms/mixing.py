"""mixup and CutMix: every image of a batch is mixed with another one, and its target with that one's.

    mixup    x = share * x + (1 - share) * partner,  share from Beta(alpha, alpha)
             (Zhang et al. 2018, arXiv 1710.09412)
    CutMix   a box of the partner is pasted in; share is the part of the image that stays its own
             (Yun et al. 2019, arXiv 1905.04899, section 3.1)

    target = share * own + (1 - share) * partner's

One share and one box serve a whole batch. An image's partner is the one `shift` places further on in the batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from tinymixer.data.randomness import generator
from tinymixer.ops.array_library import Array


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed.

    shift   of the partners, 1 to B - 1
    share   that stays an image's own
    box     CutMix: first row, row after the last, and the same for columns; None for mixup
    """

    shift: int
    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(
    mixup: float, cutmix: float, count: int, height: int, width: int, seed: int, epoch: int, step: int
) -> Mix | None:
    """Draw how to mix a batch of `count` images: by mixup or CutMix, at even odds where both are wanted.

    mixup, cutmix   alpha of the Beta distribution; 0 switches it off

    None where neither is wanted, or there is no partner.
    """
    if not (mixup or cutmix) or count < 2:
        return None
    random = generator(seed, "mixing", epoch, step)
    shift, pastes = int(random.integers(1, count)), random.random() < 0.5
    row, column = random.random(), random.random()  # of the centre of a box, as shares of the image
    if not mixup or (cutmix and pastes):
        return box_mix(shift, float(random.beta(cutmix, cutmix)), row, column, height, width)
    return Mix(shift, float(random.beta(mixup, mixup)))


def box_mix(shift: int, share: float, row: float, column: float, height: int, width: int) -> Mix:
    """A box of the area 1 - share about a centre, cut off at the border; the Mix has the share that really stays.

    row, column   of the centre, as shares of the height and the width, in [0, 1)
    """
    side = (1 - share) ** 0.5
    edges = []
    for centre, length in ((int(row * height), height), (int(column * width), width)):
        first = centre - round(side * length) // 2
        edges += [max(first, 0), min(first + round(side * length), length)]
    top, bottom, left, right = edges
    return Mix(shift, 1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def mix_images(images: Array, partners: Array, mix: Mix) -> Array:
    """images and their partners, (B, height, width, channels) each  ->  mixed ones, in the memory of `images`."""
    if mix.box is None:
        images *= mix.share
        images += (1 - mix.share) * partners
    else:
        top, bottom, left, right = mix.box
        images[:, top:bottom, left:right] = partners[:, top:bottom, left:right]
    return images


def mix_targets(labels: np.ndarray, partners: np.ndarray, classes: int, mix: Mix, dtype: DTypeLike) -> np.ndarray:
    """labels and the partners', (B,) integers each  ->  rows of probabilities (B, K)"""
    rows, each = np.zeros((len(labels), classes), dtype), np.arange(len(labels))
    rows[each, labels] = mix.share
    rows[each, partners] += 1 - mix.share
    return rows
