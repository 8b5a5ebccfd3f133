"""BoTNet (Srinivas et al. 2021, arXiv 2101.11605): a ResNet whose last stage attends where it would convolve."""

from dataclasses import dataclass
from typing import ClassVar

from tinymixer.layers.attention import require_heads
from tinymixer.layers.chain import Part, Parts, Residual
from tinymixer.layers.convolution import Convolution
from tinymixer.layers.image_norms import BatchNorm
from tinymixer.layers.initialisation import zeros
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import AveragePooling, GlobalAveragePooling, OverhangingAveragePooling, Relu
from tinymixer.layers.relative_attention import RelativeAttention
from tinymixer.models import resnet
from tinymixer.models.convnet import EXPANSIONS, ConvNet, ConvNetConfig
from tinymixer.models.registry import register_model
from tinymixer.options import option


@dataclass(frozen=True)
class BoTNetConfig(ConvNetConfig):
    """A BoTNet's sizes. BoTNet-50 (table 1) is width 64, depths 3-4-6-3, block bottleneck, stem imagenet, 4 heads."""

    noun: ClassVar[str] = "a BoTNet"

    block: str = option(
        "bottleneck",
        "1 x 1, 3 x 3, 1 x 1, as in the paper, or two 3 x 3; the last stage attends in place of 3 x 3.",
        choices=tuple(EXPANSIONS),
    )
    heads: int = option(4, "Heads of self-attention; they divide the last stage's inner channels.", minimum=1)

    def parts(self) -> Parts:
        """Table 1: a ResNet's stem and stages c2 to c4, c5 with attention, global average pooling, head.

        Raises ConfigError where the heads do not divide the channels.
        """
        parts, side = resnet.stem(self), self.side_after_stem
        for number, block in enumerate(self.blocks()):
            if number < self.num_blocks - self.stages[-1]:
                branch = resnet.BRANCHES[self.block](block.inputs, block.inner, block.stride)
            else:
                require_heads(block.inner, self.heads, "the last stage's channels")
                branch = BRANCHES[self.block](block.inputs, block.inner, block.stride, self.heads, side)
            shortcut = {} if block.keeps_shape else resnet.projection(block.inputs, block.outputs, block.stride)
            parts[f"stages.{block.place}"] = Part(Residual, branch, shortcut)
            parts[f"relu.{block.place}"] = Part(Relu)
            side = halved(side, block.stride)
        return parts | {
            "pooling": Part(GlobalAveragePooling),
            "head": Part(Linear, self.features, self.num_classes, initialise=zeros),
        }

    @property
    def side_after_stem(self) -> int:
        """Height and width of the images that the first stage gets: halved twice by the ImageNet stem, rounded up."""
        return self.image_size if self.stem == "cifar" else halved(self.image_size, 4)


def bottleneck_branch(inputs: int, width: int, stride: int, heads: int, side: int) -> Parts:
    """Figure 3, right: the bottleneck block's 1 x 1 convolutions, and attention between them."""
    return {
        "convolution1": Part(Convolution, inputs, width),
        "norm1": Part(BatchNorm, width),
        "relu1": Part(Relu),
        **attention("2", width, width, stride, heads, side),
        "norm2": Part(BatchNorm, width),
        "relu2": Part(Relu),
        "convolution3": Part(Convolution, width, 4 * width),
        "norm3": Part(BatchNorm, 4 * width),
    }


def basic_branch(inputs: int, width: int, stride: int, heads: int, side: int) -> Parts:
    """The same for ResNet's basic block, which the paper does not treat: attention in place of both convolutions."""
    return {
        **attention("1", inputs, width, stride, heads, side),
        "norm1": Part(BatchNorm, width),
        "relu1": Part(Relu),
        **attention("2", width, width, 1, heads, halved(side, stride)),
        "norm2": Part(BatchNorm, width),
    }


def attention(number: str, inputs: int, width: int, stride: int, heads: int, side: int) -> dict[str, Part]:
    """Figure 4: 1 x 1 convolutions W_Q, W_K and W_V, here one of three times as many outputs, then MHSA.

    Attention has no stride, so where the convolution that it replaces has stride 2, 2 x 2 average pooling follows
    (section 3). Of an odd number of rows the last one is pooled by itself, as in the authors' code. There is no output
    projection: the 1 x 1 convolution of the block takes its place.
    """
    parts = {
        f"qkv{number}": Part(Convolution, inputs, 3 * width),
        f"attention{number}": Part(RelativeAttention, width, heads, side, side),
    }
    pooling = OverhangingAveragePooling if side % stride else AveragePooling
    return parts | ({f"pooling{number}": Part(pooling, stride)} if stride > 1 else {})


def halved(side: int, stride: int) -> int:
    """The pixels a side after windows with that stride, rounded up."""
    return -(-side // stride)


BRANCHES = {"basic": basic_branch, "bottleneck": bottleneck_branch}


@register_model("botnet", BoTNetConfig)
class BoTNet(ConvNet):
    """x = relu(shortcut(x) + F(x)) in every block, as in a ResNet; keywords as for `Layer`.

    Attention treats each image by itself, but batch norm does not: a step takes batches whole, on one process, whose
    threads share batch norm's sums. The relative positions belong to one image size; `models/resolution.py` fits them
    to another.
    """

    meets_in_batch_norm = True
