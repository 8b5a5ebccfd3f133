"""NF-ResNet (Brock et al. 2021a, arXiv 2101.08692): residual blocks of convolutions without any norm."""

import math
from dataclasses import dataclass
from typing import ClassVar

from tinymixer.layers.chain import Part, Parts
from tinymixer.layers.convolution import ScaledStandardisedConvolution
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import GlobalAveragePooling, Relu
from tinymixer.models.convnet import ConvNet, ConvNetConfig, first_convolution, pre_activation
from tinymixer.models.registry import register_model
from tinymixer.options import option

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))  # gamma: relu of a standard normal number has variance 1 / gamma^2


@dataclass(frozen=True)
class NfResNetConfig(ConvNetConfig):
    """An NF-ResNet's sizes. NF-ResNet-50 is width 64, depths 3-4-6-3, block bottleneck, stem imagenet."""

    noun: ClassVar[str] = "an NF-ResNet"

    alpha: float = option(0.2, "Weight of each block's branch: how fast the variance grows.", above=0, maximum=10)

    def parts(self) -> Parts:
        """Section 3: x = x + alpha * F(x / beta), with beta^2 the variance that x has at the start of the training.

        F keeps the variance, so each block adds alpha^2 to it. Where the shortcut has a convolution of its own, it
        starts from x / beta too, and the variance starts again from 1. ReLU takes the division by beta with it, since
        relu(x / beta) = relu(x) / beta.
        """
        parts, variance = first_convolution(self, ScaledStandardisedConvolution), 1.0
        for block in self.blocks():
            first = {"relu1": Part(Relu, RELU_GAIN / math.sqrt(variance))}
            rest = BRANCHES[self.block](block.inputs, block.inner, block.stride)
            projection = Part(ScaledStandardisedConvolution, block.inputs, block.outputs, 1, block.stride)
            shortcut = {} if block.keeps_shape else {"convolution": projection}
            parts |= pre_activation(f"stages.{block.place}", first, rest, shortcut, self.alpha)
            variance = (variance if block.keeps_shape else 1.0) + self.alpha**2
        return parts | {
            "relu": Part(Relu, RELU_GAIN),
            "pooling": Part(GlobalAveragePooling),
            "head": Part(Linear, self.features, self.num_classes, initialise=zeros),
        }


def basic_branch(inputs: int, width: int, stride: int) -> dict[str, Part]:
    """Two 3 x 3 convolutions with a ReLU between them."""
    return {
        "convolution1": Part(ScaledStandardisedConvolution, inputs, width, 3, stride),
        "relu2": Part(Relu, RELU_GAIN),
        "convolution2": Part(ScaledStandardisedConvolution, width, width, 3),
    }


def bottleneck_branch(inputs: int, width: int, stride: int) -> dict[str, Part]:
    """1 x 1, 3 x 3 and 1 x 1 convolutions with a ReLU between them."""
    return {
        "convolution1": Part(ScaledStandardisedConvolution, inputs, width),
        "relu2": Part(Relu, RELU_GAIN),
        "convolution2": Part(ScaledStandardisedConvolution, width, width, 3, stride),
        "relu3": Part(Relu, RELU_GAIN),
        "convolution3": Part(ScaledStandardisedConvolution, width, 4 * width),
    }


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


@register_model("nf_resnet", NfResNetConfig)
class NfResNet(ConvNet):
    """x = x + alpha * F(x / beta) in every block; keywords as for `Layer`.

    The weights are standardised in the place of the activations (`ops/weight_standardisation.py`, eq. 1), so an image
    does not depend on the others in its batch. Train it with adaptive gradient clipping (`optim/agc.py`). The paper's
    SkipInit, a factor for each branch that starts at 0, and its stochastic depth and dropout are not here.
    """

    independent_images = True
