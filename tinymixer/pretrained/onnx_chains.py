"""The ONNX forms of chains of layers, such as the convolutional networks: one function for each kind of layer.

ONNX's convolutions, poolings and norms want (B, C, height, width), ours (B, height, width, C). So a form asks for the
order of axes that it needs, and an image is transposed only where the order changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinymixer import ops
from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Chain, Residual
from tinymixer.layers.convolution import Convolution, ScaledStandardisedConvolution, StandardisedConvolution
from tinymixer.layers.image_norms import BatchNorm, GroupNorm
from tinymixer.layers.layer import Layer
from tinymixer.layers.linear import Linear
from tinymixer.layers.pooling import AveragePooling, GlobalAveragePooling, MaxPooling, Relu
from tinymixer.models import ConvNet, Model
from tinymixer.pretrained.onnx_graph import Graph


class Tensor(NamedTuple):
    """An output in the graph: its name, and the order of its axes, "BHWC", "BCHW" or, without pixels, "BC"."""

    name: str
    axes: str


def is_chain(kind: type[Model]) -> bool:
    """Whether the forward pass of a class of models is its chain of layers and nothing else."""
    return issubclass(kind, ConvNet) and kind.forward is ConvNet.forward


def chain_logits(graph: Graph, model: Any, images: str) -> str:
    """images (B, H, W, channels), normalised  ->  logits (B, K), of a model that is a chain

    Batch norm gets the running statistics, as in `forward` without train. Raises ConfigError, with its name, for a
    layer that has no ONNX form.
    """
    return _chain(graph, model.chain, Tensor(images, "BHWC")).name


def _chain(graph: Graph, chain: Chain, x: Tensor) -> Tensor:
    for layer in chain.layers:
        if type(layer) not in LAYERS:  # a subclass may compute anything
            raise ConfigError(
                f"there is no ONNX form of the layer '{layer.parameters.prefix}', a {type(layer).__name__}, yet: "
                f"expected layers of {', '.join(kind.__name__ for kind in LAYERS)}"
            )
        graph.scope(layer.parameters.prefix)
        x = LAYERS[type(layer)](graph, layer, x)
    return x


def _residual(graph: Graph, layer: Residual, x: Tensor) -> Tensor:
    branch, shortcut = _chain(graph, layer.branch, x), _chain(graph, layer.shortcut, x)
    graph.scope(layer.parameters.prefix)
    branch = _scaled(graph, branch, layer.weight)
    if branch.axes != shortcut.axes:
        branch, shortcut = _channels_first(graph, branch), _channels_first(graph, shortcut)
    return Tensor(graph.add("Add", shortcut.name, branch.name), branch.axes)


def _convolution(graph: Graph, layer: Convolution, x: Tensor) -> Tensor:
    return _convolved(graph, layer, x, _array(layer, "weight"))


def _standardised_convolution(graph: Graph, layer: StandardisedConvolution, x: Tensor) -> Tensor:
    """The file holds the standardised weight: it is the same for every image."""
    return _convolved(graph, layer, x, ops.weight_standardisation_forward(_array(layer, "weight"))[0])


def _scaled_standardised_convolution(graph: Graph, layer: ScaledStandardisedConvolution, x: Tensor) -> Tensor:
    """The file holds the standardised weight with its gain."""
    weight = ops.scaled_weight_standardisation_forward(_array(layer, "weight"), _array(layer, "gain"))[0]
    return _convolved(graph, layer, x, weight, [_constant(graph, layer, "bias", _array(layer, "bias"))])


def _convolved(
    graph: Graph, layer: Convolution, x: Tensor, weight: np.ndarray, bias: list[str] | None = None
) -> Tensor:
    """weight (kh, kw, I, O), which ONNX wants as (O, I, kh, kw)"""
    kernel = _constant(graph, layer, "weight", np.ascontiguousarray(weight.transpose(3, 2, 0, 1)))
    return _windows(graph, "Conv", x, weight.shape[:2], layer.stride, layer.padding, kernel, *(bias or []))


def _max_pooling(graph: Graph, layer: MaxPooling, x: Tensor) -> Tensor:
    return _windows(graph, "MaxPool", x, (layer.size, layer.size), layer.stride, layer.padding)


def _average_pooling(graph: Graph, layer: AveragePooling, x: Tensor) -> Tensor:
    return _windows(graph, "AveragePool", x, (layer.size, layer.size), layer.size, 0)


def _windows(
    graph: Graph, operator: str, x: Tensor, size: tuple[int, ...], stride: int, padding: int, *weights: str
) -> Tensor:
    """An operator that slides a window of a size (rows, columns) over the images."""
    x = _channels_first(graph, x)
    attributes = {"kernel_shape": list(size), "strides": [stride] * 2, "pads": [padding] * 4}
    return Tensor(graph.add(operator, x.name, *weights, **attributes), x.axes)


def _batch_norm(graph: Graph, layer: BatchNorm, x: Tensor) -> Tensor:
    x, p = _channels_first(graph, x), layer.parameters
    constants = [_constant(graph, layer, name, _array(layer, name)) for name in ("scale", "bias")]
    for name in ("mean", "variance"):  # the running ones
        constants.append(_constant(graph, layer, name, layer.backend.to_numpy(p.buffer(name))))
    return Tensor(graph.add("BatchNormalization", x.name, *constants, epsilon=layer.eps), x.axes)


def _group_norm(graph: Graph, layer: GroupNorm, x: Tensor) -> Tensor:
    """Opset 17 normalises one channel of one image at a time (InstanceNormalization): here a group is made one."""
    x = _channels_first(graph, x)
    ones, zeros = (graph.constant(np.full(layer.groups, value)) for value in (1.0, 0.0))
    grouped = graph.reshape(x.name, 0, layer.groups, -1)  # (B, groups, C/groups * height * width)
    x_hat = graph.add("InstanceNormalization", grouped, ones, zeros, epsilon=layer.eps)
    x_hat = graph.add("Reshape", x_hat, graph.add("Shape", x.name))
    scale, bias = (_constant(graph, layer, name, _array(layer, name)[:, None, None]) for name in ("scale", "bias"))
    return Tensor(graph.add("Add", graph.add("Mul", x_hat, scale), bias), x.axes)


def _relu(graph: Graph, layer: Relu, x: Tensor) -> Tensor:
    return _scaled(graph, Tensor(graph.add("Relu", x.name), x.axes), layer.factor)


def _global_average_pooling(graph: Graph, layer: GlobalAveragePooling, x: Tensor) -> Tensor:
    axes = [x.axes.index("H"), x.axes.index("W")]
    return Tensor(graph.add("ReduceMean", x.name, axes=axes, keepdims=0), "BC")


def _linear(graph: Graph, layer: Linear, x: Tensor) -> Tensor:
    x = _channels_last(graph, x)
    weight, bias = (_constant(graph, layer, name, _array(layer, name)) for name in ("weight", "bias"))
    return Tensor(graph.linear(x.name, weight, bias), x.axes)


def _scaled(graph: Graph, x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else Tensor(graph.add("Mul", x.name, graph.constant(factor)), x.axes)


def _channels_first(graph: Graph, x: Tensor) -> Tensor:
    return Tensor(graph.add("Transpose", x.name, perm=[0, 3, 1, 2]), "BCHW") if x.axes == "BHWC" else x


def _channels_last(graph: Graph, x: Tensor) -> Tensor:
    return Tensor(graph.add("Transpose", x.name, perm=[0, 2, 3, 1]), "BHWC") if x.axes == "BCHW" else x


def _array(layer: Layer, name: str) -> np.ndarray:
    return layer.backend.to_numpy(layer.parameters[name])


def _constant(graph: Graph, layer: Layer, name: str, value: np.ndarray) -> str:
    """Add an array of a layer under its name in the model, such as "stages.0.0.branch.norm1.scale"."""
    return graph.constant(value, name=f"{layer.parameters.prefix}.{name}")


# The layers that can be written: (graph, layer, x) -> y. A new kind of layer adds its own here.
LAYERS: dict[type[Layer], Callable[..., Tensor]] = {
    Convolution: _convolution,
    StandardisedConvolution: _standardised_convolution,
    ScaledStandardisedConvolution: _scaled_standardised_convolution,
    BatchNorm: _batch_norm,
    GroupNorm: _group_norm,
    Relu: _relu,
    MaxPooling: _max_pooling,
    AveragePooling: _average_pooling,
    GlobalAveragePooling: _global_average_pooling,
    Linear: _linear,
    Residual: _residual,
}
