"""Random crops, horizontal flips and cutout, on whole batches of uint8 images.

`draw` draws the random choices on the host and `apply` carries them out. So the same seed gives the same crops on every
backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.options import Options, option


@dataclass(frozen=True)
class Choices:
    """The random choices for B images: small host arrays, a row per image.

    crop: int64 (B, 2), the top left corner (row, column) of the crop in the padded image, 0..2*crop_padding.
    flip: bool (B,), whether to mirror the image left to right after the crop.
    cutout: float64 (B, 2), the centre (row, column) of the cutout box as fractions of the image in [0, 1).
    """

    crop: np.ndarray
    flip: np.ndarray
    cutout: np.ndarray

    def __len__(self) -> int:
        return len(self.flip)


@dataclass(frozen=True)
class Augmentation(Options):
    """The usual weak augmentation for small images: crop, flip, cutout. Each is off at 0 or False.

    crop_padding: pad each side with this many reflected pixels, then crop a random window of the original size
        (He et al. 2016, section 4.2; they pad with zeros).
    flip: mirror each image left to right with probability 1/2.
    cutout: side in pixels of one square box that is blanked out (DeVries & Taylor 2017). Its centre lies anywhere in
        the image, so a box near the border is cut off there.

    Calling it draws and applies. Raises ConfigError for a field out of range, ShapeError for anything but uint8 images.
    """

    crop_padding: int = option(0, "Pixels of reflected border for random crops; 0 crops nothing.", minimum=0)
    flip: bool = option(False, "Mirror half of the images, left to right.")
    cutout: int = option(0, "Side in pixels of the square blanked out in each image; 0 blanks nothing.", minimum=0)

    @property
    def is_identity(self) -> bool:
        return not (self.crop_padding or self.flip or self.cutout)

    def check(self, height: int, width: int) -> None:
        """Raise ConfigError unless images of this size can be augmented: call it before training starts."""
        shorter = min(height, width)
        if self.crop_padding >= shorter:
            raise ConfigError(
                f"crop_padding={self.crop_padding} is too large for images of {height} x {width} pixels: a reflection "
                f"reaches {shorter - 1} pixels at most. Set crop_padding to {shorter - 1} or less."
            )
        if self.cutout > shorter:
            raise ConfigError(
                f"cutout={self.cutout} is larger than the images of {height} x {width} pixels. "
                f"Set cutout to {shorter} or less."
            )

    def draw(self, draws: Draws) -> Choices:
        """Draw the choices for the images of `draws`.

        Crop, flip and cutout each draw under their own name, so switching one off does not change the others.
        """
        count = len(draws)
        crop = draws.at("augmentation.crop").integers(2 * self.crop_padding + 1, (count, 2))  # (B, 2)
        flip = draws.at("augmentation.flip").bernoulli(0.5, (count,))  # (B,)
        cutout = draws.at("augmentation.cutout").uniform((count, 2))  # (B, 2)
        return Choices(crop, flip if self.flip else np.zeros(count, dtype=bool), cutout)

    def apply(self, images: np.ndarray, choices: Choices, fill: Sequence[int] | int = 0) -> np.ndarray:
        """Carry the choices out: images uint8 (B, height, width, channels) -> new images of the same shape.

        fill: the colour of a cutout box, one number or one per channel.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ShapeError(
                f"Augmentation expects uint8 images (B, height, width, channels), got {images.dtype} {images.shape}."
            )
        colour = np.asarray(fill)
        if colour.shape not in ((), (1,), images.shape[3:]) or not np.all((colour >= 0) & (colour <= 255)):
            raise ShapeError(
                f"fill is a colour from 0 to 255, one number or one for each of {images.shape[3]} channels, got "
                f"{fill!r}."
            )
        if len(choices) != len(images):
            raise ShapeError(f"The choices are for {len(choices)} images, the batch has {len(images)}.")
        self.check(*images.shape[1:3])
        out = self._crop_and_flip(images, choices)  # (B, height, width, channels)
        if self.cutout:
            out[self._cutout_boxes(images.shape, choices)] = fill
        return out

    def __call__(self, images: np.ndarray, draws: Draws, fill: Sequence[int] | int = 0) -> np.ndarray:
        return self.apply(images, self.draw(draws), fill)

    def _crop_and_flip(self, images: np.ndarray, choices: Choices) -> np.ndarray:
        """Crop and flip in one gather: compute the source row and column of each pixel; no padded copy is made."""
        if not self.crop_padding and not self.flip:
            return images.copy()
        count, height, width, channels = images.shape
        reflected_rows = np.pad(np.arange(height), self.crop_padding, mode="reflect")  # (height + 2p,)
        reflected_columns = np.pad(np.arange(width), self.crop_padding, mode="reflect")  # (width + 2p,)
        rows = reflected_rows[choices.crop[:, :1] + np.arange(height)]  # (B, height)
        columns = reflected_columns[choices.crop[:, 1:] + np.arange(width)]  # (B, width)
        columns = np.where(choices.flip[:, None], columns[:, ::-1], columns)  # (B, width)
        image_starts = np.arange(count)[:, None, None] * (height * width)  # (B, 1, 1)
        sources = image_starts + rows[:, :, None] * width + columns[:, None, :]  # (B, height, width)
        # Each pixel is one opaque item of `channels` bytes: three times faster than indexing each channel.
        pixels = np.ascontiguousarray(images).reshape(-1).view(f"V{channels}")  # (B * height * width,)
        return pixels.take(sources).view(np.uint8).reshape(images.shape)

    def _cutout_boxes(self, shape: tuple[int, ...], choices: Choices) -> np.ndarray:
        """A mask that is True inside the cutout boxes: bool (B, height, width)."""
        first = (choices.cutout * shape[1:3]).astype(np.int64) - self.cutout // 2  # (B, 2) may lie outside the image
        from_row = np.arange(shape[1]) - first[:, :1]  # (B, height)
        from_column = np.arange(shape[2]) - first[:, 1:]  # (B, width)
        in_rows = (from_row >= 0) & (from_row < self.cutout)  # (B, height)
        in_columns = (from_column >= 0) & (from_column < self.cutout)  # (B, width)
        return in_rows[:, :, None] & in_columns[:, None, :]
