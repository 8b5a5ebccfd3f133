"""ResNet, BiT, NF-ResNet and BoTNet as a PyTorch user would write them, with `torch.nn.functional` on named weights.

They share nothing with the package but the names of the weights, so that agreement means something.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  as everywhere

GAMMA = math.sqrt(2 / (1 - 1 / math.pi))


def to_torch(array):
    """Our (kh, kw, I, O) as PyTorch's (O, I, kh, kw); vectors and the head's matrix as they are."""
    carried = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    return torch.from_numpy(np.ascontiguousarray(carried))


def to_ours(tensor):
    array = tensor.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


class TorchConvNet:
    """The same network as a model of ours, from its weights and buffers; `logits` in training."""

    def __init__(self, model):
        self.config = model.config
        self.weights = {name: to_torch(array).requires_grad_() for name, array in model.parameters.to_numpy().items()}
        self.buffers = {name: to_torch(array.copy()) for name, array in model.parameters.buffers_to_numpy().items()}

    def logits(self, images):
        x = self.body(images.permute(0, 3, 1, 2))
        return x.mean(dim=(2, 3)) @ self.weights["head.weight"] + self.weights["head.bias"]

    def body(self, x):
        x = self.stem(x)
        for stage, depth in enumerate(self.config.stages):
            for i in range(depth):
                x = self.block(x, f"stages.{stage}.{i}", 2 if stage and not i else 1)
        return self.end(x)

    def kernel(self, name):
        return self.weights[f"{name}.weight"]

    def conv(self, x, name, stride=1):
        weight = self.kernel(name)
        return F.conv2d(x, weight, self.weights.get(f"{name}.bias"), stride, (weight.shape[2] - 1) // 2)

    def norm(self, x, name):
        return x

    def act(self, x):
        return F.relu(x)

    def stem(self, x):
        if self.config.stem == "cifar":
            return self.act_after_stem(self.conv(x, "stem.convolution"))
        return F.max_pool2d(self.act_after_stem(self.conv(x, "stem.convolution", 2)), 3, 2, 1)

    def act_after_stem(self, x):
        return x

    def end(self, x):
        return x

    def rest(self, x, name, stride):
        """The branch of a pre-activated block after its first ReLU."""
        x = self.conv(x, f"{name}.convolution1", 1 if self.config.block == "bottleneck" else stride)
        x = self.act(self.norm(x, f"{name}.norm2"))
        if self.config.block == "basic":
            return self.conv(x, f"{name}.convolution2")
        x = self.act(self.norm(self.conv(x, f"{name}.convolution2", stride), f"{name}.norm3"))
        return self.conv(x, f"{name}.convolution3")


class TorchResNet(TorchConvNet):
    def norm(self, x, name):
        statistics = self.buffers[f"{name}.mean"], self.buffers[f"{name}.variance"]
        return F.batch_norm(
            x, *statistics, self.weights[f"{name}.scale"], self.weights[f"{name}.bias"], True, 0.1, 1e-5
        )

    def act_after_stem(self, x):
        return F.relu(self.norm(x, "stem.norm"))

    def block(self, x, name, stride):
        bottleneck = self.config.block == "bottleneck"
        y = F.relu(
            self.norm(self.conv(x, f"{name}.branch.convolution1", 1 if bottleneck else stride), f"{name}.branch.norm1")
        )
        y = self.norm(self.conv(y, f"{name}.branch.convolution2", stride if bottleneck else 1), f"{name}.branch.norm2")
        if bottleneck:
            y = self.norm(self.conv(F.relu(y), f"{name}.branch.convolution3"), f"{name}.branch.norm3")
        if f"{name}.shortcut.convolution.weight" in self.weights:
            x = self.norm(self.conv(x, f"{name}.shortcut.convolution", stride), f"{name}.shortcut.norm")
        return F.relu(x + y)


class TorchBit(TorchConvNet):
    def kernel(self, name):
        weight = self.weights[f"{name}.weight"]
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        return (weight - mean) / torch.sqrt(variance + 1e-10)

    def norm(self, x, name):
        return F.group_norm(x, self.config.groups, self.weights[f"{name}.scale"], self.weights[f"{name}.bias"], 1e-5)

    def end(self, x):
        return F.relu(self.norm(x, "norm"))

    def block(self, x, name, stride):
        if f"{name}.sum.shortcut.convolution.weight" not in self.weights:
            return x + self.rest(F.relu(self.norm(x, f"{name}.branch.norm1")), f"{name}.branch", stride)
        x = F.relu(self.norm(x, f"{name}.norm1"))
        return self.conv(x, f"{name}.sum.shortcut.convolution", stride) + self.rest(x, f"{name}.sum.branch", stride)


class TorchNfResNet(TorchConvNet):
    def kernel(self, name):
        weight, gain = self.weights[f"{name}.weight"], self.weights[f"{name}.gain"]
        fan_in = weight[0].numel()
        rows = weight.reshape(1, len(weight), -1)
        return F.batch_norm(rows, None, None, gain / math.sqrt(fan_in), None, True, 0.0, 1e-6).reshape(weight.shape)

    def act(self, x):
        return GAMMA * F.relu(x)

    def body(self, x):
        self.variance = 1.0
        return super().body(x)

    def end(self, x):
        return self.act(x)

    def block(self, x, name, stride):
        pre = self.act(x / math.sqrt(self.variance))
        if f"{name}.sum.shortcut.convolution.weight" in self.weights:
            self.variance = 1.0
            x, name = self.conv(pre, f"{name}.sum.shortcut.convolution", stride), f"{name}.sum"
        self.variance += self.config.alpha**2
        return x + self.config.alpha * self.rest(pre, f"{name}.branch", stride)


class TorchBoTNet(TorchResNet):
    """A ResNet whose blocks of the last stage call `attend` where they would call the 3 x 3 convolution."""

    def conv(self, x, name, stride=1):
        """A block's convolution of that name, or attention in its place; the 1 x 1 convolutions are left."""
        if f"{name}.weight" in self.weights:
            return super().conv(x, name, stride)
        number = name[-1]
        block = name.removesuffix(f"convolution{number}")
        y = attend(
            super().conv(x, f"{block}qkv{number}"),
            self.weights[f"{block}attention{number}.r_height"],
            self.weights[f"{block}attention{number}.r_width"],
            self.config.heads,
        )
        return F.avg_pool2d(y, 2, ceil_mode=True) if stride == 2 else y


def attend(qkv, r_height, r_width, heads):
    """qkv (B, 3C, height, width)  ->  (B, C, height, width), with a vector for each pair of places written out."""
    images, _, height, width = qkv.shape
    q, k, v = qkv.reshape(images, 3, heads, -1, height, width).unbind(1)  # (B, heads, D, height, width)
    rows, columns = torch.arange(height), torch.arange(width)
    down = r_height[rows[None, :] - rows[:, None] + height - 1]  # (height, height, D): from h to g
    across = r_width[columns[None, :] - columns[:, None] + width - 1]  # (width, width, D): from w to u
    r = down[:, None, :, None] + across[None, :, None, :]  # (height, width, height, width, D)
    scores = torch.einsum("bndhw,bndgu->bnhwgu", q, k) + torch.einsum("bndhw,hwgud->bnhwgu", q, r)
    weights = (scores / math.sqrt(q.shape[2])).flatten(-2).softmax(-1).unflatten(-1, (height, width))
    return torch.einsum("bnhwgu,bndgu->bndhw", weights, v).flatten(1, 2)


TWINS = {"resnet": TorchResNet, "bit": TorchBit, "nf_resnet": TorchNfResNet, "botnet": TorchBoTNet}
