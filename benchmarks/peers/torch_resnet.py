"""ResNet in PyTorch, in the memory layout that its convolutions are fastest in on a processor: channels last."""

import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import nn

from benchmarks.peers import torch_training
from benchmarks.peers.torch_training import peak_bytes, reset_peak, versions
from tinymixer.bench.timing import Run
from tinymixer.bench.work import first_weights, normalised_images
from tinymixer.models import ResNetConfig

__all__ = ["ResNet", "make_forward", "make_step", "peak_bytes", "reset_peak", "versions"]


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution and its batch norm."""
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            first = [*convolution(inputs, inner, 1), nn.ReLU(), *convolution(inner, inner, 3, stride)]
            self.branch = nn.Sequential(*first, nn.ReLU(), *convolution(inner, outputs, 1))
        else:
            self.branch = nn.Sequential(
                *convolution(inputs, inner, 3, stride), nn.ReLU(), *convolution(inner, outputs, 3)
            )
        keeps_shape = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if keeps_shape else nn.Sequential(*convolution(inputs, outputs, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.shortcut(x) + self.branch(x))


class ResNet(nn.Module):
    """Its parameters stand in the order of ours."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        if config.stem == "imagenet":
            stem = [*convolution(config.in_channels, config.width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        else:
            stem = [*convolution(config.in_channels, config.width, 3), nn.ReLU()]
        self.stem = nn.Sequential(*stem)
        bottleneck = config.block == "bottleneck"
        self.blocks = nn.Sequential(
            *(Block(b.inputs, b.inner, b.outputs, b.stride, bottleneck) for b in config.blocks())
        )
        self.head = nn.Linear(config.features, config.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (B, in_channels, height, width) -> (B, K)
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))


def load_weights(model: ResNet, config: ResNetConfig) -> None:
    """Load our weights: kernels (kh, kw, I, O) as (O, I, kh, kw), the head's matrix transposed."""
    carried = [array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T for array in first_weights(config).values()]
    with torch.no_grad():
        for theirs, array in zip(model.parameters(), carried, strict=True):
            theirs.copy_(torch.from_numpy(array.copy()))


def make_step(config: ResNetConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_step(*_setting(config, batch), precision, device, compiled)


def make_forward(config: ResNetConfig, batch: int, precision: str, device: str, compiled: bool = False) -> Run:
    return torch_training.make_forward(*_setting(config, batch), precision, device, compiled)


def _setting(config: ResNetConfig, batch: int) -> tuple[ResNet, torch.Tensor, torch.Tensor]:
    """The model with our weights, images (B, in_channels, height, width) with channels last in memory, labels (B,)."""
    model = ResNet(config)
    load_weights(model, config)
    images, labels = normalised_images(config, batch)
    placed = torch.from_numpy(images).permute(0, 3, 1, 2)  # a view: ours are channels last already
    return model.to(memory_format=torch.channels_last), placed, torch.from_numpy(labels)
