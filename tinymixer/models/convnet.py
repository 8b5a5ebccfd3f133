"""What the convolutional networks share: their sizes, and a model that is a chain of parts."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tinymixer.borders import BLOCKS, CLASSES, IMAGE_VALUES, PARAMETERS, WIDTH
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Chain, Parts
from tinymixer.models.model import Model
from tinymixer.ops.array_library import Array, Cache
from tinymixer.options import Options, option
from tinymixer.parameters import BufferSpec

EXPANSIONS = {"basic": 1, "bottleneck": 4}  # channels that a block returns, as a multiple of its inner width


@dataclass(frozen=True)
class ConvNetConfig(Options):
    """The sizes of a residual convolutional network (He et al. 2016, table 1).

    Raises ConfigError, in a sentence, when a field has the wrong type, is out of range, or does not fit another.
    """

    noun: ClassVar[str] = "a convolutional network"

    image_size: int = option(32, "Height and width of the images, in pixels.", minimum=1)
    in_channels: int = option(3, "Colour channels of the images.", minimum=1)
    num_classes: int = option(10, "Number of classes (K).", minimum=1)
    width: int = option(20, "Channels of the first stage; each later stage has twice as many.", minimum=1)
    depths: str = option("2-2-2-2", "Blocks in each stage, such as 3-4-6-3.")
    block: str = option("basic", "Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1.", choices=tuple(EXPANSIONS))
    stem: str = option(
        "cifar", "First convolution: 3 x 3, or 7 x 7 with stride 2 and pooling.", choices=("cifar", "imagenet")
    )

    def require_consistent(self) -> None:
        """Raise ConfigError, before anything is built, unless the sizes fit the limits in `borders`."""
        name = type(self).noun
        numbers = self.depths.split("-")
        if not all(number.isascii() and number.isdigit() and len(number) < 10 and int(number) for number in numbers):
            raise ConfigError(
                f"'depths' expects whole numbers above 0 with - between them, such as 2-2-2-2, got {self.depths!r}"
            )
        BLOCKS.require(max(sum(self.stages), 2 ** (len(self.stages) - 1)), name)
        CLASSES.require(self.num_classes, name)
        WIDTH.require(self.channels(len(self.stages) - 1), f"the last stage of {name}")
        IMAGE_VALUES.require(self.image_size**2 * self.in_channels, name)
        PARAMETERS.require(self.parameter_count, name)

    @property
    def stages(self) -> tuple[int, ...]:
        """The number of blocks in each stage."""
        return tuple(int(number) for number in self.depths.split("-"))

    def channels(self, stage: int) -> int:
        """The channels that the blocks of a stage return."""
        return self.width * 2**stage * EXPANSIONS[self.block]

    def parts(self) -> Parts:
        """The layers of the network by name, in the order of the forward pass."""
        return {}

    @property
    def parameter_count(self) -> int:
        """The number of parameters of such a network, without building it."""
        specification = Chain.specification(self.parts()).values()
        return sum(math.prod(spec.shape) for spec in specification if not isinstance(spec, BufferSpec))

    @property
    def parameter_count_without_head(self) -> int:
        """The number of parameters of all but the classes' own Linear."""
        return self.parameter_count - (self.channels(len(self.stages) - 1) + 1) * self.num_classes

    @property
    def num_blocks(self) -> int:
        """The number of blocks in all stages."""
        return sum(self.stages)


class ConvNet(Model):
    """A chain of the parts that its configuration lists, from images to logits."""

    def __init__(self, config: ConvNetConfig, **keywords: Any) -> None:
        parts = config.parts()
        super().__init__(Chain.specification(parts), **keywords)
        self.config = config
        self.chain = Chain(parts, parameters=self.parameters)

    def forward(self, images: Array, train: bool = False, rng: Draws | None = None) -> tuple[Array, Cache]:
        """images (B, height, width, in_channels) float, normalised  ->  logits (B, K), cache

        Raises ShapeError when the images have another size or dtype than the model.
        """
        self.check_images(images)
        return self.chain.forward(images, train, rng)

    def backward(self, dlogits: Array, cache: Cache) -> Array:
        """dlogits (B, K)  ->  dimages (B, height, width, in_channels); parameter gradients are added"""
        return self.chain.backward(dlogits, cache)

    def update_buffers(self, cache: Cache) -> None:
        self.chain.update_buffers(cache)
