"""What the convolutional networks share: their sizes, and a model that is a chain of parts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tinymixer.borders import BLOCKS, CLASSES, IMAGE_VALUES, PARAMETERS, WIDTH
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Chain, Part, Parts, Residual
from tinymixer.layers.pooling import MaxPooling
from tinymixer.models.model import Model
from tinymixer.ops.array_library import Array, Cache
from tinymixer.options import Options, option
from tinymixer.parameters import BufferSpec

EXPANSIONS = {"basic": 1, "bottleneck": 4}  # channels that a block returns, as a multiple of its inner width


@dataclass(frozen=True)
class BlockPlace:
    """A block's place in the network, and its sizes.

    place            "<stage>.<block>", both counted from 0
    inputs, outputs  channels of x, and of what the block returns
    inner            channels between its convolutions
    stride           2 where the block halves the image, as the first of each stage but the first does
    """

    place: str
    inputs: int
    inner: int
    outputs: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether x can be added to the branch as it is."""
        return self.inputs == self.outputs and self.stride == 1


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
        WIDTH.require(self.features, f"the last stage of {name}")
        IMAGE_VALUES.require(self.image_size**2 * self.in_channels, name)
        PARAMETERS.require(self.parameter_count, name)

    @classmethod
    def sizes_at(cls, width: int) -> dict[str, Any]:
        """The fields that make a network so many channels wide, the width's own first (see `models/sizing.py`)."""
        return {"width": width}

    @property
    def stages(self) -> tuple[int, ...]:
        """The number of blocks in each stage."""
        return tuple(int(number) for number in self.depths.split("-"))

    def channels(self, stage: int) -> int:
        """The channels that the blocks of a stage return."""
        return self.width * 2**stage * EXPANSIONS[self.block]

    def blocks(self) -> Iterator[BlockPlace]:
        """The blocks of all stages, in the order of the forward pass."""
        inputs = self.width
        for stage, depth in enumerate(self.stages):
            for i in range(depth):
                outputs = self.channels(stage)
                yield BlockPlace(f"{stage}.{i}", inputs, self.width * 2**stage, outputs, 2 if stage and not i else 1)
                inputs = outputs

    @property
    def features(self) -> int:
        """The channels of the last stage, which the head sees."""
        return self.channels(len(self.stages) - 1)

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
        return self.parameter_count - (self.features + 1) * self.num_classes

    @property
    def num_blocks(self) -> int:
        """The number of blocks in all stages."""
        return sum(self.stages)


def first_convolution(config: ConvNetConfig, kind: Any) -> dict[str, Part]:
    """The stem of a network whose first block begins with a norm or ReLU: one convolution of a kind (and pooling)."""
    if config.stem == "cifar":
        return {"stem.convolution": Part(kind, config.in_channels, config.width, 3)}
    return {
        "stem.convolution": Part(kind, config.in_channels, config.width, 7, 2),
        "stem.pooling": Part(MaxPooling, 3, 2, 1),
    }


def pre_activation(name: str, first: Parts, rest: Parts, shortcut: Parts, weight: float = 1.0) -> dict[str, Part]:
    """A block of pre-activation: x + weight * rest(first(x)), or shortcut(first(x)) + weight * rest(first(x)).

    first      norm and ReLU before the branch
    shortcut   empty for x itself
    """
    if not shortcut:
        return {name: Part(Residual, {**first, **rest}, {}, weight)}
    return {f"{name}.{layer}": part for layer, part in first.items()} | {
        f"{name}.sum": Part(Residual, rest, shortcut, weight)
    }


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
