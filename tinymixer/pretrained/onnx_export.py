"""Writes a model as an ONNX file, which runs without tinymixer: in ONNX Runtime, in a browser, on a telephone.

Operators of opset 17 (the first with LayerNormalization; ONNX Runtime 1.13 and later) and nothing else, so GELU and
group norm are written out. The batch is the first axis of every tensor and may have any length. Models on patches are
written by `onnx_tokens.py`, chains of layers (the convolutional networks) by `onnx_chains.py`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinymixer.errors import ConfigError
from tinymixer.files import replacing
from tinymixer.models import Model, architecture_of, architectures, difference_from_stock, model_class
from tinymixer.pretrained.onnx_chains import chain_logits, is_chain
from tinymixer.pretrained.onnx_graph import OPSET, Graph
from tinymixer.pretrained.onnx_tokens import BODIES, token_logits

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

    Raises ConfigError where the package onnx is missing, for a model that has no ONNX form yet, has a layer that has
    none, or is not exactly what its class builds, for float64, and for more weights than a file can hold;
    CheckpointError where it cannot be written.
    """
    graph = _graph_of(model, mean, std)
    known = _metadata(model, mean, std, class_names, preparation)
    content = graph.to_model(known).SerializeToString()
    with replacing(path) as file:
        file.write(content)


def _graph_of(model: Model, mean: ArrayLike | None, std: ArrayLike | None) -> Graph:
    architecture = architecture_of(model)
    write = _form_of(type(model))
    if write is None or architecture not in architectures():
        raise ConfigError(
            f"there is no ONNX form of {architecture} yet: expected one of "
            f"{', '.join(name for name in architectures() if _form_of(model_class(name)))}"
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
    write(graph, model, images)
    return graph


def _form_of(kind: type[Model]) -> Callable[[Graph, Model, str], str] | None:
    """What writes the models of a class, normalised images -> logits; None where nothing does."""
    if kind in BODIES:
        return token_logits
    return chain_logits if is_chain(kind) else None


def _normalised(graph: Graph, pixels: str, mean: ArrayLike, std: ArrayLike, channels: int) -> str:
    """pixels (B, H, W, channels) from 0 to 255  ->  normalised as in `data.normalise`: one product, one difference"""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if mean.shape != (channels,) or std.shape != (channels,) or not std.min() > 0 or not np.isfinite(mean).all():
        raise ConfigError(f"mean and std have a number for each of {channels} channels, std above 0: {mean}, {std}")
    graph.scope("normalisation")
    scaled = graph.add("Mul", pixels, graph.constant(1 / (255 * std)))
    return graph.add("Sub", scaled, graph.constant(mean / std))


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
