"""`PatchConfig`: the fields that all configurations of models that cut images into patches share."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tinymixer.borders import BLOCKS, CLASSES, IMAGE_VALUES, PARAMETERS, WIDTH
from tinymixer.errors import ConfigError
from tinymixer.options import Options, option

MOST_SUGGESTED = 8  # fitting patch sizes named in an error message


@dataclass(frozen=True)
class PatchConfig(Options):
    """The sizes of a network that works on patches of square images.

    Raises ConfigError, in a sentence, when a field has the wrong type, is out of range, or does not fit another.
    """

    noun: ClassVar[str] = "a model"

    image_size: int = option(32, "Height and width of the images, in pixels.", minimum=1)
    in_channels: int = option(3, "Colour channels of the images.", minimum=1)
    patch_size: int = option(4, "Height and width of a patch, in pixels (P).", minimum=1)
    hidden_dim: int = option(128, "Channels of a token (C).", minimum=1)
    num_blocks: int = option(8, "Number of blocks (L).", minimum=1)
    num_classes: int = option(10, "Number of classes (K).", minimum=1)

    def require_consistent(self) -> None:
        """Raise ConfigError, before anything is built, unless the sizes fit each other and the limits in `borders`."""
        name = type(self).noun
        BLOCKS.require(self.num_blocks, name)
        CLASSES.require(self.num_classes, name)
        for width in ("hidden_dim", "tokens_mlp_dim", "channels_mlp_dim"):
            WIDTH.require(getattr(self, width, 1), f"{width} of {name}")
        IMAGE_VALUES.require(self.image_size**2 * self.in_channels, name)
        if self.image_size % self.patch_size:
            divisors = [size for size in range(1, math.isqrt(self.image_size) + 1) if self.image_size % size == 0]
            divisors = sorted({*divisors, *(self.image_size // size for size in divisors)})
            nearest = sorted(sorted(divisors, key=lambda size: abs(size - self.patch_size))[:MOST_SUGGESTED])
            raise ConfigError(
                f"patch_size {self.patch_size} does not divide image_size {self.image_size}: choose one of "
                + ", ".join(map(str, nearest))
            )
        PARAMETERS.require(self.parameter_count, name)

    @classmethod
    def sizes_at(cls, width: int) -> dict[str, Any]:
        """The fields that make a model so many channels wide, the width's own first (see `models/sizing.py`)."""
        return {"hidden_dim": width}

    @property
    def parameter_count(self) -> int:
        """The number of parameters of a model of these sizes, without building it; 0 where a subclass does not say."""
        return 0

    @property
    def parameter_count_without_head(self) -> int:
        """The number of parameters of all but the classes' own Linear, as table 1 of the paper counts them."""
        return self.parameter_count - (self.hidden_dim + 1) * self.num_classes

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across the image."""
        side = self.image_size // self.patch_size
        return side, side

    @property
    def num_tokens(self) -> int:
        """S, the number of patches of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_features(self) -> int:
        """P*P*in_channels, the length of a patch vector."""
        return self.patch_size**2 * self.in_channels
