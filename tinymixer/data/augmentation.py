"""Augmentation of whole batches: crops, flips and cutout on uint8 images, and a list of stronger transforms.

`draw` draws the random choices on the host and `apply` carries them out. So the same seed gives the same crops on every
backend.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinymixer.data.transforms import pipeline
from tinymixer.data.transforms.crop import crop_images
from tinymixer.data.transforms.geometry import crop_and_flip
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.options import Options, option


@dataclass(frozen=True)
class Choices:
    """The random choices for B images: small host arrays, a row per image.

    crop: int64 (B, 2), the top left corner (row, column) of the crop in the padded image, 0..2*crop_padding.
    flip: bool (B,), whether to mirror the image left to right after the crop.
    cutout: float64 (B, 2), the centre (row, column) of the cutout box as fractions of the image in [0, 1).
    transforms: those of the stronger transforms; None where there are none.
    """

    crop: np.ndarray
    flip: np.ndarray
    cutout: np.ndarray
    transforms: pipeline.Drawn | None = None

    def __len__(self) -> int:
        return len(self.flip)


@dataclass(frozen=True)
class Augmentation(Options):
    """What is done to training images: crop, flip, cutout, stronger transforms, mixing. Each is off at 0 or False.

    crop_padding: pad each side with this many reflected pixels, then crop a random window of the original size
        (He et al. 2016, section 4.2; they pad with zeros).
    flip: mirror each image left to right with probability 1/2.
    cutout: side in pixels of one square box that is blanked out (DeVries & Taylor 2017). Its centre lies anywhere in
        the image, so a box near the border is cut off there.
    alternate_flip: with `flip`, mirror each image in every second epoch, half of them in the even epochs and half in
        the odd ones: no image is seen twice in a row the same way round (Jordan 2024, arXiv 2404.00498, section 3.6).
    transforms: a list such as "rotate(20, 0.4) zoom(0.25, 0.4)", see `data.transforms.pipeline`.
    mixup, cutmix: alpha of the Beta distribution that shares are drawn from, see `data.transforms.mixing`.
    mixing_off: share of the run, at its end, in which images are not mixed.

    Calling it draws and applies what works on uint8 images: crop, flip, cutout. Raises ConfigError for a field out of
    range, ShapeError for anything but uint8 images.
    """

    crop_padding: int = option(0, "Pixels of reflected border for random crops; 0 crops nothing.", minimum=0)
    flip: bool = option(False, "Mirror half of the images, left to right.")
    cutout: int = option(0, "Side in pixels of the square blanked out in each image; 0 blanks nothing.", minimum=0)

    alternate_flip: bool = option(False, "Mirror each image in every second epoch instead of by chance.")
    transforms: str = option("", "Stronger transforms, such as 'rotate(20, 0.4) zoom(0.25)'; see docs/recipe.md.")
    mixup: float = option(0.0, "Mix images by mixup: alpha of the Beta distribution; 0 does not.", minimum=0)
    cutmix: float = option(0.0, "Mix images by CutMix: alpha of the Beta distribution; 0 does not.", minimum=0)
    mixing_off: float = option(0.2, "Share of the run, at its end, without mixup and CutMix.", minimum=0, maximum=1)

    def require_consistent(self) -> None:
        if self.alternate_flip and not self.flip:
            raise ConfigError("'alternate_flip' says how 'flip' is done: switch flip on as well")
        _ = self.uses  # a list that cannot be read is refused now

    @cached_property
    def uses(self) -> tuple[pipeline.Use, ...]:
        """The stronger transforms. Raises ConfigError where the text cannot be read."""
        return pipeline.parse(self.transforms)

    @property
    def is_identity(self) -> bool:
        """Whether single images stay as they are."""
        return not (self.crop_padding or self.flip or self.cutout or self.uses)

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

    def draw(
        self, draws: Draws, indices: np.ndarray | None = None, shape: tuple[int, int, int] | None = None
    ) -> Choices:
        """Draw the choices for the images of `draws`.

        indices   (B,), the images' numbers in the data set, which `alternate_flip` goes by
        shape     height, width and channels, which the stronger transforms go by

        All draw under their own names, so switching one off does not change the others.
        """
        count = len(draws)
        crop = draws.at("augmentation.crop").integers(2 * self.crop_padding + 1, (count, 2))  # (B, 2)
        flip = self._flip(draws, indices)  # (B,)
        cutout = draws.at("augmentation.cutout").uniform((count, 2))  # (B, 2)
        transforms = pipeline.draw(self.uses, draws, *shape) if self.uses and shape is not None else None
        return Choices(crop, flip, cutout, transforms)

    def _flip(self, draws: Draws, indices: np.ndarray | None) -> np.ndarray:
        """Which images to mirror: bool (B,)."""
        count = len(draws)
        if not self.flip:
            return np.zeros(count, dtype=bool)
        if not self.alternate_flip:
            return draws.at("augmentation.flip").bernoulli(0.5, (count,))
        assert indices is not None, "alternate_flip goes by the images' numbers in the data set"
        in_even_epochs = Draws(draws.seed, 0, 0, indices).at("augmentation.alternate_flip").bernoulli(0.5, (count,))
        return in_even_epochs ^ (draws.epoch % 2 == 1)

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

    def apply_transforms(self, images: np.ndarray, choices: Choices) -> np.ndarray:
        """Crop, flip and the stronger transforms: images uint8 (B, ...) -> float32 in 0..1, nothing erased yet."""
        drawn = choices.transforms
        assert drawn is not None
        if drawn.maps is None:
            return pipeline.apply(self._crop_and_flip(images, choices), drawn)
        first = crop_and_flip(choices.crop, choices.flip, self.crop_padding)
        return pipeline.apply(images, dataclasses.replace(drawn, maps=first.then(drawn.maps)))

    def blank(self, images: np.ndarray, choices: Choices) -> None:
        """Set cutout boxes and erased ones of normalised images (B, ...) to zero, the mean colour, in place."""
        if self.cutout:
            images[self._cutout_boxes(images.shape, choices)] = 0
        if choices.transforms is not None:
            pipeline.erase(images, choices.transforms)

    def __call__(self, images: np.ndarray, draws: Draws, fill: Sequence[int] | int = 0) -> np.ndarray:
        return self.apply(images, self.draw(draws), fill)

    def _crop_and_flip(self, images: np.ndarray, choices: Choices) -> np.ndarray:
        """Crop and flip; a copy where neither is wanted."""
        if not self.crop_padding and not self.flip:
            return images.copy()
        return crop_images(images, choices.crop, choices.flip, self.crop_padding)

    def _cutout_boxes(self, shape: tuple[int, ...], choices: Choices) -> np.ndarray:
        """A mask that is True inside the cutout boxes: bool (B, height, width)."""
        first = (choices.cutout * shape[1:3]).astype(np.int64) - self.cutout // 2  # (B, 2) may lie outside the image
        from_row = np.arange(shape[1]) - first[:, :1]  # (B, height)
        from_column = np.arange(shape[2]) - first[:, 1:]  # (B, width)
        in_rows = (from_row >= 0) & (from_row < self.cutout)  # (B, height)
        in_columns = (from_column >= 0) & (from_column < self.cutout)  # (B, width)
        return in_rows[:, :, None] & in_columns[:, None, :]
