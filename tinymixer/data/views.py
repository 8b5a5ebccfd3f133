"""Test-time augmentation: a model looks at several views of each image, and its logits for them are averaged.

A view is the image mirrored, or shifted by a pixel, or both. The views and their weights are those of Jordan 2024
(arXiv 2404.00498, section 3.5): the image as it is and its two shifts along the diagonal, up and left, down and right;
the shifted ones together weigh as much as the others. As there, logits are averaged, not probabilities: the result is
the softmax of the mean logits, which is the geometric mean of the views' probabilities, normalised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinymixer.data.augmentation import Choices
from tinymixer.data.transforms.crop import crop_images
from tinymixer.errors import ConfigError, nearest
from tinymixer.text import shown_value


@dataclass(frozen=True)
class View:
    """One view of an image: shifted, then perhaps mirrored.

    shift    pixels by which the picture moves down and to the right; the border it leaves is reflected
    flip     whether it is mirrored left to right after that
    weight   its share in the average over the views
    """

    shift: tuple[int, int] = (0, 0)
    flip: bool = False
    weight: float = 1.0

    @property
    def padding(self) -> int:
        """Reflected pixels a side that the shifted picture is cropped from."""
        return max(map(abs, self.shift))

    def check(self, height: int, width: int) -> None:
        """Raise ConfigError unless images of this size can be shifted so far."""
        if self.padding >= min(height, width):
            raise ConfigError(
                f"images of {height} x {width} pixels cannot be shifted by {self.padding} pixel for test-time "
                "augmentation, since the border is reflected: mirror them alone (tta = mirror)"
            )

    def choices(self, count: int) -> Choices:
        """What augmentation would have drawn for `count` images that are to be seen so."""
        crop = np.tile(self.padding - np.array(self.shift, np.int64), (count, 1))  # (B, 2)
        return Choices(crop, np.full(count, self.flip), np.zeros((count, 2)))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """This view of each image (B, height, width, channels), of any dtype; the very images where it is plain."""
        if not (self.padding or self.flip):
            return images
        self.check(*images.shape[1:3])
        choices = self.choices(len(images))
        return crop_images(images, choices.crop, choices.flip, self.padding)


AS_IT_IS = View()
_SHIFTS = ((-1, -1), (1, 1))
TTA: dict[str, tuple[View, ...]] = {
    "none": (AS_IT_IS,),
    "mirror": (View(weight=0.5), View(flip=True, weight=0.5)),
    "shift": (View(weight=0.5), *(View(shift, weight=0.25) for shift in _SHIFTS)),
    "all": (
        *(View(flip=flip, weight=0.25) for flip in (False, True)),
        *(View(shift, flip, weight=0.125) for shift in _SHIFTS for flip in (False, True)),
    ),
}  # the first view of each is the image as it is


def views_of(tta: str) -> Sequence[View]:
    """The views of a kind of test-time augmentation: "none", "mirror", "shift" or "all" (both).

    Raises ConfigError for any other.
    """
    if not isinstance(tta, str) or tta not in TTA:
        *others, last = TTA
        hint = nearest(tta, TTA) if isinstance(tta, str) else ""
        raise ConfigError(
            f"there is no test-time augmentation {shown_value(tta)}: expected {', '.join(others)} or {last}, which "
            f"mirrors and shifts.{hint}"
        )
    return TTA[tta]


def average_logits(tta: str, logits_of: Callable[[View], np.ndarray | None]) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits (N, K) of the images as they are, and their average over the views: float64.

    logits_of   returns the model's logits (N, K) for a view of each image; or None, stopped: then the result is None
    """
    plain = average = None
    for view in views_of(tta):
        found = logits_of(view)
        if found is None:
            return None
        logits = found.astype(np.float64)  # (N, K)
        if plain is None or average is None:
            plain, average = logits, logits if view.weight == 1 else view.weight * logits
        else:
            average += view.weight * logits
    assert plain is not None
    assert average is not None
    return plain, average


def caution(tta: str, trained_with_flips: bool | None) -> str | None:
    """A sentence where a model is shown mirrored images and never saw any in training; None where that is unknown."""
    if trained_with_flips is not False or not any(view.flip for view in views_of(tta)):
        return None
    return (
        "this model was not trained on mirrored images (augmentation.flip = false): where a mirrored picture means "
        "something else, as with digits and letters, results get worse"
    )
