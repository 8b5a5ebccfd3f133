"""BiT's ResNet (Kolesnikov et al. 2020, arXiv 1912.11370): group norm, standardised weights, pre-activation."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Part, Parts
from tinymixer.layers.convolution import StandardisedConvolution
from tinymixer.layers.image_norms import GroupNorm
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import GlobalAveragePooling, Relu
from tinymixer.models.convnet import ConvNet, ConvNetConfig, first_convolution, pre_activation
from tinymixer.models.registry import register_model
from tinymixer.options import option


@dataclass(frozen=True)
class BitConfig(ConvNetConfig):
    """A BiT's sizes. BiT-R50x1 is width 64, depths 3-4-6-3, block bottleneck, stem imagenet, 32 groups."""

    noun: ClassVar[str] = "a BiT"

    groups: int = option(4, "Groups of channels that are normalised together; they divide the width.", minimum=1)

    def require_consistent(self) -> None:
        """Raise ConfigError unless the sizes fit the limits, and the groups divide the width."""
        if self.width % self.groups:
            raise ConfigError(f"'groups' {self.groups} does not divide 'width' {self.width}: choose a divisor of it")
        super().require_consistent()

    @classmethod
    def sizes_at(cls, width: int) -> dict[str, Any]:
        """With the number of groups nearest to four that divides the width into two channels or more."""
        fitting = [groups for groups in range(1, width // 2 + 1) if width % groups == 0] or [1]
        return {"width": width, "groups": min(fitting, key=lambda groups: abs(math.log(groups / 4)))}

    def parts(self) -> Parts:
        """ResNet-v2 with every batch norm replaced by group norm (section 3.2 and 3.3): stem, stages, norm, head.

        The first block of a stage changes channels or size, and its shortcut starts from what norm and ReLU make of x,
        as in the authors' code; in all others it is x itself (He et al. 2016b, arXiv 1603.05027, eq. 3 to 5).
        """
        parts = first_convolution(self, StandardisedConvolution)
        for block in self.blocks():
            first = {"norm1": Part(GroupNorm, block.inputs, self.groups), "relu1": Part(Relu)}
            rest = BRANCHES[self.block](block.inputs, block.inner, block.stride, self.groups)
            projection = Part(StandardisedConvolution, block.inputs, block.outputs, 1, block.stride)
            shortcut = {} if block.keeps_shape else {"convolution": projection}
            parts |= pre_activation(f"stages.{block.place}", first, rest, shortcut)
        return parts | {
            "norm": Part(GroupNorm, self.features, self.groups),
            "relu": Part(Relu),
            "pooling": Part(GlobalAveragePooling),
            "head": Part(Linear, self.features, self.num_classes, initialise=zeros),
        }


def basic_branch(inputs: int, width: int, stride: int, groups: int) -> dict[str, Part]:
    """Two 3 x 3 convolutions, the second after norm and ReLU of its own."""
    return {
        "convolution1": Part(StandardisedConvolution, inputs, width, 3, stride),
        "norm2": Part(GroupNorm, width, groups),
        "relu2": Part(Relu),
        "convolution2": Part(StandardisedConvolution, width, width, 3),
    }


def bottleneck_branch(inputs: int, width: int, stride: int, groups: int) -> dict[str, Part]:
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the later two after norm and ReLU of their own."""
    return {
        "convolution1": Part(StandardisedConvolution, inputs, width),
        "norm2": Part(GroupNorm, width, groups),
        "relu2": Part(Relu),
        "convolution2": Part(StandardisedConvolution, width, width, 3, stride),
        "norm3": Part(GroupNorm, width, groups),
        "relu3": Part(Relu),
        "convolution3": Part(StandardisedConvolution, width, 4 * width),
    }


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


@register_model("bit", BitConfig)
class Bit(ConvNet):
    """x = x + F(relu(norm(x))) in every block; keywords as for `Layer`.

    Group norm looks at one image at a time, so batches may be cut: into slices, micro-batches, over ranks.
    """

    independent_images = True
