"""Writes a model as an ONNX file, which runs without tinymixer: in ONNX Runtime, in a browser, on a telephone.

Operators of opset 17 (the first with LayerNormalization; ONNX Runtime 1.13 and later) and nothing else, so GELU is
written out. Tokens stand after the image here, (B, S, C), as elsewhere: the batch is the first axis of every tensor and
may have any length.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tinymixer import __version__
from tinymixer.errors import ConfigError, install_line
from tinymixer.files import replacing
from tinymixer.models import (
    LinearMixer,
    LinearMixerConfig,
    MixerConfig,
    MlpMixer,
    Model,
    VisionTransformer,
    ViTConfig,
    architecture_of,
    architectures,
    difference_from_stock,
    model_class,
)
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # of the file format; the one of opset 17's time, which every runtime since reads
LARGEST = 2_000_000_000  # bytes of weights: a file of protocol buffers ends at 2 GiB


def export_onnx(
    model: Model,
    path: Path,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    preparation: str = "",
) -> None:
    """Write `model` to `path`, whole or not at all.

    mean, std     per channel, of pixels scaled to 0..1. With them normalisation is part of the file, whose input is
                  then "pixels", float32 (B, H, W, channels) from 0 to 255: nobody has to know the numbers to get
                  right answers. Without them it is "images", normalised already
    class_names   K names, kept in the file
    preparation   how a picture becomes H x W pixels, in words, kept in the file

    The output is "logits", float32 (B, K). What the file knows of itself stands in its metadata: the architecture, its
    sizes, class_names, mean, std, and a sentence about the input, "input".

    Raises ConfigError where the package onnx is missing, for a model that has no ONNX form yet or is not exactly what
    its class builds, for float64, and for more weights than a file can hold; CheckpointError where it cannot be
    written.
    """
    graph = _graph_of(model, mean, std)
    known = _metadata(model, mean, std, class_names, preparation)
    content = graph.to_model(known).SerializeToString()
    with replacing(path) as file:
        file.write(content)


class Graph:
    """An ONNX graph while it is built: every method adds nodes and returns the name of the last one's output."""

    def __init__(self, inputs: tuple[str, tuple[Any, ...]], classes: int) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ConfigError(f"writing ONNX needs the package onnx: {install_line('onnx')}") from error
        self._onnx = onnx
        self.inputs, self.classes = inputs, classes
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._scope = ""

    def scope(self, name: str) -> None:
        """Names of what follows begin with this, as the parameters' do."""
        self._scope = name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one node; returns its output."""
        name = f"{self._scope}/{operator}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: ArrayLike, dtype: Any = np.float32, name: str = "") -> str:
        """Add an array; returns its name."""
        name = name or f"{self._scope}/constant_{len(self.weights)}"
        self.weights.append(self._onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """Another shape, batch first: 0 keeps the batch's length."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def linear(self, x: str, weight: str, bias: str) -> str:
        """x (B, S, I), weight (I, O), bias (O,)  ->  (B, S, O)"""
        return self.add("Add", self.add("MatMul", x, weight), bias)

    def token_linear(self, x: str, weight: str, bias: str) -> str:
        """x (B, S, C), weight (O, S), bias (O, 1)  ->  (B, O, C)"""
        return self.add("Add", self.add("MatMul", weight, x), bias)

    def layer_norm(self, x: str, scale: str, bias: str, eps: float) -> str:
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)

    def gelu(self, x: str, form: str) -> str:
        """GELU in its "tanh" or "erf" form, as in `ops/gelu.py`."""
        if form == "erf":
            inner = self.add("Erf", self.add("Mul", x, self.constant(np.sqrt(0.5))))
        else:
            cubes = self.add("Mul", self.add("Mul", self.add("Mul", x, x), x), self.constant(TANH_CUBIC))
            inner = self.add("Tanh", self.add("Mul", self.add("Add", x, cubes), self.constant(TANH_SLOPE)))
        shifted = self.add("Add", inner, self.constant(1.0))
        return self.add("Mul", self.add("Mul", x, self.constant(0.5)), shifted)

    def to_model(self, known: Mapping[str, str]) -> "onnx.ModelProto":
        """The finished model; the last node's output is the logits."""
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self.nodes.append(helper.make_node("Identity", [self.nodes[-1].output[0]], ["logits"], name="logits"))
        name, shape = self.inputs
        graph = helper.make_graph(
            self.nodes,
            "tinymixer",
            [helper.make_tensor_value_info(name, float32, ["B", *shape])],
            [helper.make_tensor_value_info("logits", float32, ["B", self.classes])],
            self.weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tinymixer",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(known))
        self._onnx.checker.check_model(model)
        return model


def _graph_of(model: Model, mean: ArrayLike | None, std: ArrayLike | None) -> Graph:
    architecture = architecture_of(model)
    if type(model) not in BODIES:
        raise ConfigError(
            f"there is no ONNX form of {architecture} yet: expected one of "
            f"{', '.join(name for name in architectures() if model_class(name) in BODIES)}"
        )
    if difference := difference_from_stock(model):
        raise ConfigError(f"the ONNX form is that of the model as its class builds it, and {difference}")
    if str(model.parameters.dtype) != "float32":
        raise ConfigError("ONNX files are written in float32: load the model with dtype float32")
    if 4 * model.parameters.count > LARGEST:
        raise ConfigError(f"an ONNX file holds 2 GB, and this model has {model.parameters.count:,} parameters")
    if (mean is None) != (std is None):
        raise ConfigError("mean and std go together: give both, or neither")
    config = model.config
    shape = (config.image_size, config.image_size, config.in_channels)
    graph = Graph(("images" if mean is None else "pixels", shape), config.num_classes)
    images = graph.inputs[0]
    if mean is not None and std is not None:
        images = _normalised(graph, images, mean, std, config.in_channels)
    names = {name: graph.constant(array, name=name) for name, array in _arrays(model).items()}
    graph.scope("stem")
    tokens = graph.linear(_patches(graph, images, config), names["stem.weight"], names["stem.bias"])  # (B, S, C)
    features = BODIES[type(model)](graph, tokens, names, config)  # (B, C)
    graph.scope("head")
    graph.linear(features, names["head.weight"], names["head.bias"])  # (B, K)
    return graph


def _arrays(model: Model) -> dict[str, np.ndarray]:
    """The parameters, biases over tokens as columns (S, 1), which are added to (B, S, C)."""
    arrays = model.parameters.to_numpy()
    return {
        name: array[:, None] if array.ndim == 1 and re.search(r"\.token_mixing\.bias[12]?$", name) else array
        for name, array in arrays.items()
    }


def _normalised(graph: Graph, pixels: str, mean: ArrayLike, std: ArrayLike, channels: int) -> str:
    """pixels (B, H, W, channels) from 0 to 255  ->  normalised as in `data.normalise`: one product, one difference"""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if mean.shape != (channels,) or std.shape != (channels,) or not std.min() > 0 or not np.isfinite(mean).all():
        raise ConfigError(f"mean and std have a number for each of {channels} channels, std above 0: {mean}, {std}")
    graph.scope("normalisation")
    scaled = graph.add("Mul", pixels, graph.constant(1 / (255 * std)))
    return graph.add("Sub", scaled, graph.constant(mean / std))


def _patches(graph: Graph, images: str, config: Any) -> str:
    """images (B, H, W, channels)  ->  patches (B, S, P*P*channels), as in `ops/patches.py`"""
    down, across = config.grid
    size = config.patch_size
    cut = graph.reshape(images, 0, down, size, across, size, config.in_channels)
    cut = graph.add("Transpose", cut, perm=[0, 1, 3, 2, 4, 5])
    return graph.reshape(cut, 0, down * across, config.patch_features)


def _mixer_body(graph: Graph, x: str, names: Mapping[str, str], config: MixerConfig) -> str:
    """The blocks, the last LayerNorm and the mean of an MlpMixer: x (B, S, C) -> (B, C)"""
    return _mean(graph, _blocks(graph, x, names, config, config.tokens))


def _vit_body(graph: Graph, x: str, names: Mapping[str, str], config: ViTConfig) -> str:
    """Class token, positions, blocks, the last LayerNorm, and class token or mean: x (B, S, C) -> (B, C)"""
    graph.scope("positions")
    if config.pool == "class":  # a token of zeros before the others, to which the class token is added
        x = graph.add("Pad", x, graph.constant([0, 1, 0, 0, 0, 0], np.int64))
        token = graph.reshape(names["class_token.token"], 1, config.hidden_dim)
        x = graph.add("Add", x, graph.add("Pad", token, graph.constant([0, 0, config.num_tokens, 0], np.int64)))
    x = _blocks(graph, graph.add("Add", x, names["positions.embedding"]), names, config, "attention")
    return _mean(graph, x) if config.pool == "mean" else graph.add("Gather", x, graph.constant(0, np.int64), axis=1)


def _mean(graph: Graph, x: str) -> str:
    """x (B, S, C)  ->  (B, C)"""
    return graph.add("ReduceMean", x, axes=[1], keepdims=0)


def _blocks(graph: Graph, x: str, names: Mapping[str, str], config: MixerConfig | ViTConfig, tokens: str) -> str:
    """The blocks and the last LayerNorm: x (B, S, C) -> (B, S, C)"""
    for index in range(config.num_blocks):
        block = f"blocks.{index}"
        graph.scope(f"{block}.token_mixing")
        if tokens != "none":
            normed = _norm(graph, x, names, f"{block}.token_norm", config)
            x = graph.add("Add", x, TOKENS[tokens](graph, normed, names, f"{block}.token_mixing", config))
        graph.scope(f"{block}.channel_mixing")
        normed = _norm(graph, x, names, f"{block}.channel_norm", config)
        x = graph.add("Add", x, _mlp(graph, normed, names, f"{block}.channel_mixing", config, graph.linear))
    graph.scope("pre_head_layer_norm")
    return _norm(graph, x, names, "pre_head_layer_norm", config)


def _linear_body(graph: Graph, x: str, names: Mapping[str, str], config: LinearMixerConfig) -> str:
    """The blocks and the mean of a LinearMixer: x (B, S, C) -> (B, C)"""
    for index in range(config.num_blocks):
        for part, linear in (("token_mixing", graph.token_linear), ("channel_mixing", graph.linear)):
            prefix = f"blocks.{index}.{part}"
            graph.scope(prefix)
            x = graph.add("Add", x, linear(x, names[f"{prefix}.weight"], names[f"{prefix}.bias"]))
    return _mean(graph, x)


def _norm(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig | ViTConfig) -> str:
    return graph.layer_norm(x, names[f"{prefix}.scale"], names[f"{prefix}.bias"], config.layer_norm_eps)


def _mlp(
    graph: Graph,
    x: str,
    names: Mapping[str, str],
    prefix: str,
    config: MixerConfig | ViTConfig,
    linear: Callable[..., str],
) -> str:
    hidden = linear(x, names[f"{prefix}.weight1"], names[f"{prefix}.bias1"])
    return linear(graph.gelu(hidden, config.gelu), names[f"{prefix}.weight2"], names[f"{prefix}.bias2"])


def _token_mlp(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig) -> str:
    return _mlp(graph, x, names, prefix, config, graph.token_linear)


def _token_linear(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig) -> str:
    return graph.token_linear(x, names[f"{prefix}.weight"], names[f"{prefix}.bias"])


def _pool(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig) -> str:
    """The mean of the 3 x 3 patches around each, minus it (`ops/pool_tokens.py`): AveragePool wants (B, C, H, W)."""
    down, across = config.grid
    as_image = graph.reshape(graph.add("Transpose", x, perm=[0, 2, 1]), 0, config.hidden_dim, down, across)
    means = graph.add(
        "AveragePool", as_image, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], count_include_pad=0
    )
    rows = graph.reshape(means, 0, config.hidden_dim, down * across)
    return graph.add("Sub", graph.add("Transpose", rows, perm=[0, 2, 1]), x)


def _attention(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig | ViTConfig) -> str:
    """Self-attention in heads between its two Linears (`ops/self_attention.py`), in the layout (B, heads, S, D)."""
    width = config.hidden_dim // config.heads
    qkv = graph.linear(x, names[f"{prefix}.weight_qkv"], names[f"{prefix}.bias_qkv"])  # (B, S, 3C)
    split = graph.reshape(qkv, 0, -1, 3, config.heads, width)
    split = graph.add("Transpose", split, perm=[2, 0, 3, 1, 4])  # (3, B, heads, S, D)
    q, k, v = (graph.add("Gather", split, graph.constant(part, np.int64), axis=0) for part in range(3))
    scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2]))  # (B, heads, S, S)
    a = graph.add("Softmax", graph.add("Mul", scores, graph.constant(width**-0.5)), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", a, v), perm=[0, 2, 1, 3])  # (B, S, heads, D)
    mixed = graph.reshape(mixed, 0, -1, config.hidden_dim)
    return graph.linear(mixed, names[f"{prefix}.weight_out"], names[f"{prefix}.bias_out"])


TOKENS: dict[str, Callable[..., str]] = {
    "mlp": _token_mlp,
    "linear": _token_linear,
    "pool": _pool,
    "attention": _attention,
}
# The models that can be written: what stands between stem and head, (B, S, C) -> (B, C). A new model adds its own here.
BODIES: dict[type[Model], Callable[..., str]] = {
    MlpMixer: _mixer_body,
    LinearMixer: _linear_body,
    VisionTransformer: _vit_body,
}


def _metadata(
    model: Model,
    mean: ArrayLike | None,
    std: ArrayLike | None,
    class_names: Sequence[str] | None,
    preparation: str,
) -> dict[str, str]:
    config = model.config
    size = f"{config.image_size} x {config.image_size}"
    known = {
        "architecture": architecture_of(model),
        "config": json.dumps(config.to_dict()),
        "opset": str(OPSET),
        "output": "logits (B, K): softmax over K makes probabilities of them",
    }
    if mean is None:
        known["input"] = f"images (B, H, W, channels) of {size}, normalised already: (pixel / 255 - mean) / std"
    else:
        known["input"] = f"pixels (B, H, W, channels) of {size}, from 0 to 255; the file normalises them itself"
        known |= {name: json.dumps(np.asarray(each, float).tolist()) for name, each in (("mean", mean), ("std", std))}
    if preparation:
        known["preparation"] = preparation
    if class_names is not None:
        if len(class_names) != config.num_classes:
            raise ConfigError(f"{len(class_names)} class names for {config.num_classes} classes")
        known["class_names"] = json.dumps(list(class_names), ensure_ascii=False)
    return known
