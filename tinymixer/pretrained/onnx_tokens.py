"""The ONNX forms of the models that work on patches: Mixers and the Vision Transformer.

Tokens stand after the image here, (B, S, C), while in the models it is (S, B, C).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinymixer.models import (
    LinearMixer,
    LinearMixerConfig,
    MixerConfig,
    MlpMixer,
    Model,
    VisionTransformer,
    ViTConfig,
)
from tinymixer.ops.windows import places_read
from tinymixer.pretrained.onnx_graph import Graph

TOKEN_BIAS = r"\.token_mixing\.(\d+\.)?bias[12]?$"


def token_logits(graph: Graph, model: Model, images: str) -> str:
    """images (B, H, W, channels), normalised  ->  logits (B, K), of a model in BODIES"""
    names = {name: graph.constant(array, name=name) for name, array in _arrays(model).items()}
    graph.scope("stem")
    tokens = graph.linear(_patches(graph, images, model.config), names["stem.weight"], names["stem.bias"])  # (B, S, C)
    features = BODIES[type(model)](graph, tokens, names, model.config)  # (B, C)
    graph.scope("head")
    return graph.linear(features, names["head.weight"], names["head.bias"])


def _arrays(model: Model) -> dict[str, np.ndarray]:
    """The parameters, biases over tokens as columns (S, 1), which are added to (B, S, C)."""
    arrays = model.parameters.to_numpy()
    return {
        name: array[:, None] if array.ndim == 1 and re.search(TOKEN_BIAS, name) else array
        for name, array in arrays.items()
    }


def _patches(graph: Graph, images: str, config: Any) -> str:
    """images (B, H, W, channels)  ->  patches (B, S, features), as in `ops/patches.py`, or overlapping as in
    `ops/windows.py`: the rows and columns that the windows read, gathered beside each other"""
    down, across = config.grid
    size, overlap = config.patch_size, getattr(config, "overlap", 0)
    if overlap:
        places = graph.constant(places_read(np, config.image_size, size, overlap), np.int64)  # rows, and columns
        images = graph.add("Gather", graph.add("Gather", images, places, axis=1), places, axis=2)
        size = config.window_size
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
            mixed = TOKENS[tokens](graph, normed, names, f"{block}.token_mixing", config)
            x = graph.add("Add", x, _scaled(graph, mixed, names, f"{block}.token_scale"))
        graph.scope(f"{block}.channel_mixing")
        normed = _norm(graph, x, names, f"{block}.channel_norm", config)
        mixed = _mlp(graph, normed, names, f"{block}.channel_mixing", config, graph.linear)
        x = graph.add("Add", x, _scaled(graph, mixed, names, f"{block}.channel_scale"))
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
    hidden = graph.gelu(linear(x, names[f"{prefix}.weight1"], names[f"{prefix}.bias1"]), config.gelu)
    if f"{prefix}.gate_weight" in names:
        gate = linear(x, names[f"{prefix}.gate_weight"], names[f"{prefix}.gate_bias"])
        hidden = graph.add("Mul", hidden, gate)
    return linear(hidden, names[f"{prefix}.weight2"], names[f"{prefix}.bias2"])


def _scaled(graph: Graph, branch: str, names: Mapping[str, str], prefix: str) -> str:
    """The branch times its LayerScale, where there is one."""
    return graph.add("Mul", branch, names[f"{prefix}.scale"]) if f"{prefix}.scale" in names else branch


def _token_mlp(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig) -> str:
    if config.grouped_channels > 1:
        return _grouped_token_mlp(graph, x, names, prefix, config)
    if config.untied_groups == 1:
        return _mlp(graph, x, names, prefix, config, graph.token_linear)
    parts = []
    for i in range(config.untied_groups):
        width = config.hidden_dim // config.untied_groups
        own = graph.add("Gather", x, graph.constant(np.arange(i * width, (i + 1) * width), np.int64), axis=2)
        parts.append(_mlp(graph, own, names, f"{prefix}.{i}", config, graph.token_linear))
    return graph.add("Concat", *parts, axis=2)


def _grouped_token_mlp(graph: Graph, x: str, names: Mapping[str, str], prefix: str, config: MixerConfig) -> str:
    """Token mixing of G channels at once, (B, S, C) -> (B, G*S, C / G) and back (`layers/grouped_token_mixing.py`)."""
    tokens, count = config.num_tokens, config.grouped_channels
    columns = config.hidden_dim // count
    split = graph.add("Transpose", graph.reshape(x, 0, tokens, columns, count), perm=[0, 3, 1, 2])  # (B, G, S, C / G)
    mixed = _mlp(
        graph, graph.reshape(split, 0, count * tokens, columns), names, prefix, config, graph.token_linear
    )  # (B, G*S, C / G)
    back = graph.add("Transpose", graph.reshape(mixed, 0, count, tokens, columns), perm=[0, 2, 3, 1])
    return graph.reshape(back, 0, tokens, config.hidden_dim)


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
# What stands between stem and head, (B, S, C) -> (B, C). A new model on patches adds its own here.
BODIES: dict[type[Model], Callable[..., str]] = {
    MlpMixer: _mixer_body,
    LinearMixer: _linear_body,
    VisionTransformer: _vit_body,
}
