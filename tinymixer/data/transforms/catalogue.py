"""All transforms by name: what their strength means, and how an image's uniform numbers become its amount."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinymixer.data.transforms import colour, geometry
from tinymixer.data.transforms.geometry import AffineMaps
from tinymixer.ops.array_library import Array

Numbers = np.ndarray  # (B, 4 + channels), uniform in [0, 1): for each image, four and one for each channel


@dataclass(frozen=True)
class Transform:
    """One transform of single images.

    meaning    what its strength is, with the unit
    usual      the strength where none is given; the largest that RandAugment and TrivialAugment use
    largest    the largest strength that makes sense
    """

    meaning: str
    usual: float
    largest: float


@dataclass(frozen=True)
class Geometric(Transform):
    """maps(numbers, strength (B,), height, width) gives every image's map."""

    maps: Callable[[Numbers, np.ndarray, int, int], AffineMaps]


@dataclass(frozen=True)
class Colour(Transform):
    """amounts(numbers, strength (B,)) gives each image's amount; apply(images, amounts) carries it out."""

    amounts: Callable[[Numbers, np.ndarray], np.ndarray]
    apply: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Erasing(Transform):
    """boxes(numbers, strength (B,), height, width) gives first row, row after the last, and the same for
    columns: int64 (B, 4). The box gets the mean colour."""

    boxes: Callable[[Numbers, np.ndarray, int, int], np.ndarray]


def either_way(numbers: Numbers, strength: np.ndarray) -> np.ndarray:
    """-strength to strength, (B,)."""
    return (2 * numbers[:, 0] - 1) * strength


def around_one(numbers: Numbers, strength: np.ndarray) -> np.ndarray:
    """A factor of 1 - strength to 1 + strength, (B,)."""
    return 1 + either_way(numbers, strength)


def _resized_crop(numbers: Numbers, smallest: np.ndarray, height: int, width: int) -> AffineMaps:
    area = smallest + (1 - smallest) * numbers[:, 0]
    aspect = (4 / 3) ** (2 * numbers[:, 1] - 1)  # 3/4 to 4/3
    return geometry.window(area, aspect, numbers[:, 2:4], height, width)


def _square(numbers: Numbers, strength: np.ndarray, height: int, width: int) -> np.ndarray:
    side = np.rint(strength * min(height, width))
    return _box(numbers[:, 0] * height, numbers[:, 1] * width, side, side, height, width)


def _rectangle(numbers: Numbers, strength: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area of 0.02 to strength, aspect of 0.3 to 1/0.3, as Zhong et al. 2020, algorithm 1."""
    area = (0.02 + numbers[:, 2] * np.maximum(strength - 0.02, 0)) * height * width
    aspect = 0.3 ** (2 * numbers[:, 3] - 1)
    tall, wide = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    return _box(numbers[:, 0] * height, numbers[:, 1] * width, tall, wide, height, width)


def _box(
    row: np.ndarray, column: np.ndarray, tall: np.ndarray, wide: np.ndarray, height: int, width: int
) -> np.ndarray:
    """A box about a centre, cut off at the border: int64 (B, 4)."""
    first = np.floor(row) - tall // 2, np.floor(column) - wide // 2
    edges = (first[0], first[0] + tall, first[1], first[1] + wide)
    limits = (height, height, width, width)
    return np.stack([np.clip(edge, 0, limit) for edge, limit in zip(edges, limits, strict=True)], axis=1).astype(int)


def _channel_amounts(numbers: Numbers, strength: np.ndarray) -> np.ndarray:
    return (2 * numbers[:, 4:] - 1) * strength[:, None]  # (B, channels)


def _kept_bits(numbers: Numbers, left_out: np.ndarray) -> np.ndarray:
    return 8 - np.floor(numbers[:, 0] * (left_out + 1)).clip(0, 7)


def _limit(numbers: Numbers, strength: np.ndarray) -> np.ndarray:
    return (1 - numbers[:, 0] * strength) * (256 / 255)  # without strength above 1, where nothing is inverted


def _always(numbers: Numbers, strength: np.ndarray) -> np.ndarray:
    return strength


TRANSFORMS: dict[str, Transform] = {
    "rotate": Geometric(
        "degrees, either way", 30, 180, lambda u, strength, height, width: geometry.rotation(either_way(u, strength))
    ),
    "shear_x": Geometric(
        "pixels along the row for each row",
        0.3,
        1,
        lambda u, strength, height, width: geometry.shear(either_way(u, strength), 0.0),
    ),
    "shear_y": Geometric(
        "pixels along the column for each column",
        0.3,
        1,
        lambda u, strength, height, width: geometry.shear(0.0, either_way(u, strength)),
    ),
    "shift_x": Geometric(
        "share of the width",
        0.45,
        1,
        lambda u, strength, height, width: geometry.shift(0.0, either_way(u, strength) * width),
    ),
    "shift_y": Geometric(
        "share of the height",
        0.45,
        1,
        lambda u, strength, height, width: geometry.shift(either_way(u, strength) * height, 0.0),
    ),
    "zoom": Geometric(
        "change of the size", 0.25, 0.9, lambda u, strength, height, width: geometry.zoom(around_one(u, strength))
    ),
    "resized_crop": Geometric("smallest share of the area", 0.25, 1, _resized_crop),
    "brightness": Colour("change of the factor", 0.9, 1, around_one, colour.brightness),
    "contrast": Colour("change of the factor", 0.9, 1, around_one, colour.contrast),
    "saturation": Colour("change of the factor", 0.9, 1, around_one, colour.saturation),
    "sharpness": Colour("change of the factor", 0.9, 1, around_one, colour.sharpness),
    "offset": Colour("added to all channels, of 0..1", 0.3, 1, either_way, colour.offset),
    "channel_offset": Colour("added to each channel, of 0..1", 0.1, 1, _channel_amounts, colour.channel_offset),
    "posterize": Colour("bits left out, at most", 4, 7, _kept_bits, colour.posterize),
    "solarize": Colour("how far the limit lies below 1", 1, 1, _limit, colour.solarize),
    "invert": Colour("has no effect", 1, 1, _always, colour.invert),
    "erase": Erasing("side of the square, as a share of the image's", 0.25, 1, _square),
    "random_erasing": Erasing("largest share of the area", 0.33, 1, _rectangle),
}

# What RandAugment and TrivialAugment choose from. Of the authors' 14, AutoContrast and Equalize are left out.
POLICY_TRANSFORMS = (
    "identity", "rotate", "shear_x", "shear_y", "shift_x", "shift_y",
    "brightness", "contrast", "saturation", "sharpness", "posterize", "solarize",
)  # fmt: skip
