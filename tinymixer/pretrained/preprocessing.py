"""From a picture to what a published model was trained to see.

Whoever published weights measured them with one way of resizing and scaling pictures, and each chose another; with the
wrong one a model still answers, a few per cent worse. So weights come with theirs.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.data.images import checked_size, image_of_array, load_image, whole_picture
from tinymixer.errors import CheckpointError, ConfigError, nearest
from tinymixer.pretrained.resizing import resize_area, resize_bilinear
from tinymixer.text import shown_value

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Picture = str | os.PathLike[str] | np.ndarray
RESIZINGS = {
    "stretch": "straight to the model's size, whatever the picture's shape",
    "short side": "short side to `short_side` pixels, then the central square of the model's size",
    "crop": "central square, then to the model's size (as tinymixer trains)",
    "squeeze": "straight to the model's size (as tinymixer trains with fit = squeeze)",
}
INTERPOLATIONS = {
    "tf-bilinear": "TensorFlow's bilinear, without antialiasing",
    "tf-area": "TensorFlow's area, fractions cut off",
    "bilinear": "Pillow's bilinear, with antialiasing",
    "bicubic": "Pillow's bicubic, with antialiasing",
    "tinymixer": "averaging where a picture shrinks, bicubic where it grows",
}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes an image (H, W, channels) of float32 for a model.

    name            whose way it is
    image_size      H = W, in pixels;  channels   1 for grey, 3 for RGB
    resizing        a key of RESIZINGS;  short_side   in pixels, for "short side"
    interpolation   a key of INTERPOLATIONS
    mean, std       one number per channel, of pixels scaled to 0..1: the image is (pixels / 255 - mean) / std

    Raises ConfigError for values that do not fit each other.
    """

    name: str
    image_size: int
    resizing: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    short_side: int = 0

    def __post_init__(self) -> None:
        checked_size(self.image_size)
        if self.resizing not in RESIZINGS or self.interpolation not in INTERPOLATIONS:
            raise ConfigError(f"unknown way of resizing pictures: {self.resizing}, {self.interpolation}")
        if (self.resizing in ("crop", "squeeze")) != (self.interpolation == "tinymixer"):
            raise ConfigError(f"'{self.resizing}' does not go with '{self.interpolation}'")
        if self.resizing == "short side":
            checked_size(self.short_side)
            if self.short_side < self.image_size:
                raise ConfigError(f"a short side of {self.short_side} pixels is less than {self.image_size}")
        for numbers in (self.mean, self.std):
            if len(numbers) != self.channels or not all(map(math.isfinite, numbers)):
                raise ConfigError(f"mean and std have a number for each of {self.channels} channels, got {numbers}")
        if min(self.std) <= 0:
            raise ConfigError(f"std is above 0, got {self.std}")

    def __call__(self, picture: Picture) -> np.ndarray:
        """A picture's file, or an array uint8 (height, width[, channels])  ->  float32 (H, W, channels)

        Raises DataError for anything that is no picture.
        """
        return self.normalise(self.pixels(picture))

    def pixels(self, picture: Picture) -> np.ndarray:
        """The picture resized and cut: (H, W, channels), uint8, or float32 in 0..255 where fractions are kept."""
        size = self.image_size
        if self.interpolation == "tinymixer":
            if isinstance(picture, np.ndarray):
                return image_of_array(picture, size, self.channels, self.resizing)
            return load_image(picture, size, self.channels, fit=self.resizing)
        whole = whole_picture(picture, self.channels, max(size, self.short_side))
        if self.resizing == "stretch":
            return self._resized(whole, size, size)
        height, width = self._with_short_side(whole.height, whole.width)
        resized = self._resized(whole, height, width)
        if self.interpolation.startswith("tf-"):
            top, left = (height - size) // 2, (width - size) // 2
        else:  # torchvision's CenterCrop
            top, left = round((height - size) / 2), round((width - size) / 2)
        return resized[top : top + size, left : left + size]

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """pixels (..., channels) in 0..255  ->  float32 (..., channels)"""
        mean, std = (np.array(each, np.float32) for each in (self.mean, self.std))  # (channels,)
        return (pixels.astype(np.float32) / np.float32(255) - mean) / std

    def _with_short_side(self, height: int, width: int) -> tuple[int, int]:
        side, shorter = self.short_side, min(height, width)
        if self.interpolation.startswith("tf-"):
            factor = np.float32(side) / np.float32(shorter)
            return round(float(np.float32(height) * factor)), round(float(np.float32(width) * factor))
        longer = int(side * max(height, width) / shorter)  # torchvision's Resize
        return (side, longer) if height <= width else (longer, side)

    def _resized(self, picture: "PillowImage", height: int, width: int) -> np.ndarray:
        from PIL import Image

        if self.interpolation.startswith("tf-"):
            array = np.asarray(picture).reshape(picture.height, picture.width, self.channels)
            if self.interpolation == "tf-bilinear":
                return resize_bilinear(array, height, width)
            return np.clip(resize_area(array, height, width) + 1e-4, 0, 255).astype(np.uint8)  # 1e-4: rounding of sums
        method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[self.interpolation]
        done = np.asarray(picture.resize((width, height), method))
        return done.reshape(height, width, self.channels)

    def describe(self) -> str:
        """One line for people."""
        how = {
            "stretch": f"stretched to {self.image_size} x {self.image_size}",
            "short side": f"short side to {self.short_side}, central {self.image_size} x {self.image_size}",
            "crop": f"central square to {self.image_size} x {self.image_size}",
            "squeeze": f"squeezed to {self.image_size} x {self.image_size}",
        }[self.resizing]
        numbers = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        mean, std = numbers
        return f"{self.name}: {how} ({INTERPOLATIONS[self.interpolation]}), mean {mean}, std {std}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(self).items()}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Any) -> "Preprocessing":
        """Rebuild from what `to_dict` returned. Raises CheckpointError for anything else."""
        fields = {entry.name: entry.type for entry in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) != set(fields):
            raise CheckpointError(f"a preprocessing has {', '.join(fields)}, got {shown_value(values)}")
        plain: dict[str, Any] = dict(values)
        for name in ("image_size", "channels", "short_side"):
            if type(plain[name]) is not int:
                raise CheckpointError(f"a preprocessing's {name} is a whole number, got {shown_value(plain[name])}")
        for name in ("name", "resizing", "interpolation"):
            if not isinstance(plain[name], str):
                raise CheckpointError(f"a preprocessing's {name} is text, got {shown_value(plain[name])}")
        for name in ("mean", "std"):
            numbers = plain[name]
            if not isinstance(numbers, list) or not all(type(each) in (int, float) for each in numbers):
                raise CheckpointError(f"a preprocessing's {name} is a list of numbers, got {shown_value(numbers)}")
            plain[name] = tuple(map(float, numbers))
        return cls(**plain)


def published(name: str, image_size: int, channels: int = 3) -> Preprocessing:
    """A published way, for images of that size. Raises ConfigError for an unknown name.

    authors      the paper's authors' fine-tuning code (vit_jax/input_pipeline.py)
    big_vision   the same authors' newer code (configs of big_vision)
    timm         timm's default for Mixers: crop_pct 0.875, bicubic
    miil         timm's mixer_b16_224.miil*: crop_pct 0.875, bilinear, pixels from 0 to 1 as they are
    """
    if name not in PUBLISHED:
        raise ConfigError(
            f"there is no preprocessing '{name}': expected one of {', '.join(PUBLISHED)}.{nearest(name, PUBLISHED)}"
        )
    resizing, interpolation, mean, std = PUBLISHED[name]
    short_side = 0
    if resizing == "short side":
        # 256 for 224. timm divides by 0.875 and cuts off, big_vision's configurations say 256.
        short_side = math.floor(image_size / 0.875)
    return Preprocessing(
        name, image_size, resizing, interpolation, (mean,) * channels, (std,) * channels, channels, short_side
    )


PUBLISHED: dict[str, tuple[str, str, float, float]] = {
    "authors": ("stretch", "tf-bilinear", 0.5, 0.5),
    "big_vision": ("short side", "tf-area", 0.5, 0.5),
    "timm": ("short side", "bicubic", 0.5, 0.5),
    "miil": ("short side", "bilinear", 0.0, 1.0),
}
