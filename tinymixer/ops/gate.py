"""The gate of a gated linear unit: the product of two arrays, entry by entry (Shazeer 2020, arXiv 2002.05202)."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache


def gate_forward(x: Array, gate: Array) -> tuple[Array, Cache]:
    """Let x through as far as the gate says.

    x (..., D), gate (..., D) of the same shape  ->  y (..., D)

        y = x * gate

    In a gated MLP both come from the same tokens, by a Linear each, and one of them goes through GELU: the hidden layer
    is gelu(t W + b) * (t V + c), which Shazeer calls GEGLU (equation 5).

    Raises ShapeError when the shapes differ.

    See: lessons/09_mixer.ipynb, "gate" in lessons/cheatsheet.md, tests/ops/test_gate.py
    """
    if x.shape != gate.shape:
        raise ShapeError(f"expected a gate of the shape of x, {tuple(x.shape)}, got {tuple(gate.shape)}")
    return x * gate, (x, gate)


def gate_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Product rule, entry by entry: each factor's gradient is dy times the other factor.

        dx = dy * gate        dgate = dy * x

    dy (..., D)  ->  dx (..., D), dgate (..., D)
    """
    x, gate = cache
    if dy.shape != x.shape:
        raise ShapeError(f"expected dy of the shape of x, {tuple(x.shape)}, got {tuple(dy.shape)}")
    return dy * gate, dy * x
