"""ResNet (He et al. 2016, arXiv 1512.03385): residual blocks of convolutions with batch norm."""

from dataclasses import dataclass
from typing import ClassVar

from tinymixer.layers.chain import Part, Parts, Residual
from tinymixer.layers.convolution import Convolution
from tinymixer.layers.image_norms import BatchNorm
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import GlobalAveragePooling, MaxPooling, Relu
from tinymixer.models.convnet import ConvNet, ConvNetConfig
from tinymixer.models.registry import register_model


@dataclass(frozen=True)
class ResNetConfig(ConvNetConfig):
    """A ResNet's sizes. ResNet-18 is width 64, depths 2-2-2-2; ResNet-50 width 64, depths 3-4-6-3, block bottleneck.

    Their stem is "imagenet" (table 1). At CIFAR's size a 3 x 3 stem keeps the few pixels, as in section 4.2.
    """

    noun: ClassVar[str] = "a ResNet"

    def parts(self) -> Parts:
        """Table 1: stem, stages of blocks, global average pooling, head. Each stage but the first halves the image."""
        parts = stem(self)
        for block in self.blocks():
            branch = BRANCHES[self.block](block.inputs, block.inner, block.stride)
            shortcut = {} if block.keeps_shape else projection(block.inputs, block.outputs, block.stride)
            parts[f"stages.{block.place}"] = Part(Residual, branch, shortcut)
            parts[f"relu.{block.place}"] = Part(Relu)
        return parts | {
            "pooling": Part(GlobalAveragePooling),
            "head": Part(Linear, self.features, self.num_classes, initialise=zeros),
        }


def stem(config: ConvNetConfig) -> dict[str, Part]:
    """The first layers (table 1, conv1 and the pooling before conv2_x; section 4.2 for CIFAR)."""
    size, stride = (7, 2) if config.stem == "imagenet" else (3, 1)
    first = {
        "stem.convolution": Part(Convolution, config.in_channels, config.width, size, stride),
        "stem.norm": Part(BatchNorm, config.width),
        "stem.relu": Part(Relu),
    }
    return first | ({"stem.pooling": Part(MaxPooling, 3, 2, 1)} if config.stem == "imagenet" else {})


def basic_branch(inputs: int, width: int, stride: int) -> Parts:
    """Figure 5, left: two 3 x 3 convolutions, each with batch norm."""
    return {
        "convolution1": Part(Convolution, inputs, width, 3, stride),
        "norm1": Part(BatchNorm, width),
        "relu1": Part(Relu),
        "convolution2": Part(Convolution, width, width, 3),
        "norm2": Part(BatchNorm, width),
    }


def bottleneck_branch(inputs: int, width: int, stride: int) -> Parts:
    """Figure 5, right: 1 x 1 reduces the channels, 3 x 3 works on few of them, 1 x 1 restores them.

    The stride is at the 3 x 3 convolution, as in the ResNet-50 that everybody trains ("v1.5"), not at the first one.
    """
    return {
        "convolution1": Part(Convolution, inputs, width),
        "norm1": Part(BatchNorm, width),
        "relu1": Part(Relu),
        "convolution2": Part(Convolution, width, width, 3, stride),
        "norm2": Part(BatchNorm, width),
        "relu2": Part(Relu),
        "convolution3": Part(Convolution, width, 4 * width),
        "norm3": Part(BatchNorm, 4 * width),
    }


def projection(inputs: int, outputs: int, stride: int) -> Parts:
    """Eq. 2: a 1 x 1 convolution where the shortcut must change channels or size (option B of section 3.3)."""
    return {"convolution": Part(Convolution, inputs, outputs, 1, stride), "norm": Part(BatchNorm, outputs)}


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


@register_model("resnet", ResNetConfig)
class ResNet(ConvNet):
    """x = relu(shortcut(x) + F(x)) in every block (eq. 1 and 2); keywords as for `Layer`.

    Batch norm lets an image depend on the others in its batch: a step takes batches whole, on one process. The threads
    of that process share batch norm's sums.
    """

    meets_in_batch_norm = True
