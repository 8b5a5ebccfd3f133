"""A misspelt operation is a type error. mypy reads this file; it never runs.

`warn_unused_ignores` is set: where mypy found nothing wrong in a line marked here, the mark itself would be the error.
"""

from typing import Any

from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.kernels.operations import FusedOperations
from tinymixer.layers.layer import Layer
from tinymixer.ops.protocol import Operations


def misspelt(layer: Layer, backend: Backend, x: Any) -> None:
    layer.ops.layer_norm_froward(x, x, x)  # type: ignore[attr-defined]
    backend.ops.gelu_tanh_forwrad(x)  # type: ignore[attr-defined]
    layer.ops.layer_norm_forward(x, x)  # type: ignore[call-arg]
    layer.ops.dropout_forward(x, x, rate="half")  # type: ignore[arg-type]
    layer.ops.layer_norm_forward(x, x, x, eps=1e-6)


def all_three_are_operations(fused: FusedOperations) -> list[Operations]:
    return [ops, fused]
