"""A table of a model's layers, with their output shapes, parameters and multiply-adds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.layers.layer import Layer
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.sliding import Windows


@dataclass
class LayerRow:
    """A layer with its own parameters: name, class, output shape for one image, parameters, multiply-adds.

    weights   name -> shape of its parameters
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)


class CountingOperations:
    """The operations, except that the matrix products only count their multiply-adds and compute nothing."""

    def __init__(self) -> None:
        self.multiply_adds = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(ops, name)

    def linear_forward(self, x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        self.multiply_adds += x.size * weight.shape[1]
        return np.zeros((*x.shape[:-1], weight.shape[1]), x.dtype), None

    def self_attention_forward(self, qkv: Array, heads: int) -> tuple[Array, Cache]:
        tokens, images, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        self.multiply_adds += 2 * tokens * tokens * images * channels  # q k^T and a v
        return np.zeros((tokens, images, channels), qkv.dtype), None

    def relative_attention_forward(
        self, qkv: Array, r_height: Array, r_width: Array, heads: int
    ) -> tuple[Array, Cache]:
        height, width = qkv.shape[1:3]
        y = np.zeros((*qkv.shape[:3], qkv.shape[3] // 3), qkv.dtype)
        self.multiply_adds += y.size * (2 * height * width + height + width)  # q k^T and a v; q r^T
        return y, None

    def token_linear_forward(self, x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        self.multiply_adds += x.size * weight.shape[0]
        return np.zeros((weight.shape[0], *x.shape[1:]), x.dtype), None

    def convolution_forward(
        self, x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0
    ) -> tuple[Array, Cache]:
        windows = Windows(x.shape[1:3], weight.shape[:2], stride, padding)
        y = np.zeros((x.shape[0], windows.down, windows.across, weight.shape[3]), x.dtype)
        self.multiply_adds += y.size * math.prod(weight.shape[:3])
        return y, None


def layer_rows(model: Any) -> list[LayerRow]:
    """A row for each layer with its own parameters, in the order of the forward pass.

    Runs a fresh model of the same class and configuration on one image of zeros. Matrix products are counted and not
    computed, so this is fast for a model of any size. Raises whatever the model's class raises.
    """
    counting: Any = CountingOperations()
    fresh = type(model)(model.config, backend=Backend("counting", np, counting), seed=None)
    rows: list[LayerRow] = []
    for layer in _layers(fresh):
        if layer is not fresh and any("." not in name for name in layer.parameters.names):
            layer.forward = _noted(layer, counting, rows)  # type: ignore[method-assign]
    config = model.config
    fresh.forward(np.zeros((1, config.image_size, config.image_size, config.in_channels), fresh.parameters.dtype))
    return rows


def summary(model: Any) -> str:
    """The rows as a table to print, with their sums; a block that repeats gets one entry."""
    lines = [("layer", "", "output", "parameters", "multiply-adds")]
    rows = layer_rows(model)
    for row, times in grouped_rows(rows):
        shape = " x ".join(map(str, row.output))
        name = row.name if times == 1 else row.name.replace(".0.", f".0-{times - 1}.")
        lines.append((name, row.kind, shape, f"{row.parameters * times:,}", f"{row.multiply_adds * times:,}"))
    total = sum(row.multiply_adds for row in rows)
    lines.append(("all", type(model).__name__, "", f"{model.parameters.count:,}", f"{total:,}"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    table = [
        "  ".join(text.ljust(width) if column < 3 else text.rjust(width)
                  for column, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]  # fmt: skip
    if getattr(model.config, "whitened_stem", False):
        table.append("stem.weight is set from the training images and not trained (whitened_stem)")
    return "\n".join(table)


def _noted(layer: Layer, counting: CountingOperations, rows: list[LayerRow]) -> Any:
    forward = layer.forward

    def noting(*arguments: Any, **keywords: Any) -> tuple[Any, Any]:
        before = counting.multiply_adds
        y, cache = forward(*arguments, **keywords)
        parameters, count = layer.parameters, counting.multiply_adds - before
        weights = {name: parameters.shape(name) for name in parameters}
        kind, output = type(layer).__name__, _one_image(y.shape)
        rows.append(LayerRow(parameters.prefix, kind, output, parameters.count, count, weights))
        return y, cache

    return noting


def _one_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the axis of the one image: (S, 1, C) -> (S, C), (1, K) -> (K,)."""
    return tuple(size for axis, size in enumerate(shape) if axis != (1 if len(shape) == 3 else 0))


def _layers(layer: Any) -> Iterator[Layer]:
    """Yield a layer and, recursively, all layers in it."""
    yield layer
    for value in vars(layer).values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, Layer):
                yield from _layers(part)


def grouped_rows(rows: list[LayerRow]) -> list[tuple[LayerRow, int]]:
    """(row, count) pairs: of several equal blocks only the first one's rows, with their number; other rows count 1."""
    blocks: dict[str, dict[str, list[LayerRow]]] = {}
    for row in rows:
        head, _, rest = row.name.partition(".")
        if rest[:1].isdigit():
            blocks.setdefault(head, {}).setdefault(rest.partition(".")[0], []).append(row)
    equal = {
        head for head, numbered in blocks.items()
        if len({tuple((row.kind, row.output, row.parameters) for row in block) for block in numbered.values()}) == 1
    }  # fmt: skip
    kept = []
    for row in rows:
        head, _, rest = row.name.partition(".")
        if head not in equal or not rest[:1].isdigit():
            kept.append((row, 1))
        elif rest.partition(".")[0] == "0":
            kept.append((row, len(blocks[head])))
    return kept
