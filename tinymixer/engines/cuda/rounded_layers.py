"""The layers of a Mixer in the number formats of a precision: what the fused step's gradients are judged by.

CuPy has no bfloat16, and its products do not round to tf32. So the layers compute in float32 here, and what the fused
step keeps in fewer bits is rounded to those bits after every operation: in 16-bit precisions the factors and results of
products, LayerNorm's and GELU's results and their gradients; in tf32 the factors of products alone. Statistics, losses,
the head's numbers and the gradients of weights stay float32, as in the fused step (`kernels/precision.py`). In float32
nothing is rounded.

How far rounding moves a gradient is partly chance, above all where few numbers decide it. So the layers can also round
in other ways that are as good: with a `salt`, numbers are moved by up to the unit of rounding before they are rounded.

`MagnitudeOperations` computes how large the terms are that a gradient sums up: some gradients cancel to zero
(a token-mixing output bias), and an error must then be compared with the terms.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tinymixer import ops
from tinymixer.layers.mixer_block import MixerBlock
from tinymixer.models import MlpMixer
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.protocol import Operations

Round = Callable[[Array], Array]


def _unchanged(x: Array) -> Array:
    return x


def to_bfloat16(x: Array) -> Array:
    """float32 (...) -> float32 (...) with 7 bits of mantissa, to nearest, ties to even."""
    return _drop_bits(x, 16)


def to_tf32(x: Array) -> Array:
    """float32 (...) -> float32 (...) with 10 bits of mantissa, to nearest, ties to even."""
    return _drop_bits(x, 13)


def to_float16(x: Array) -> Array:
    """float32 (...) -> float32 (...) with float16's mantissa and range."""
    return x.astype("float16").astype("float32")


def _drop_bits(x: Array, count: int) -> Array:
    bits = x.view("uint32")
    half, kept = (1 << (count - 1)) - 1, 0xFFFFFFFF >> count << count
    return ((bits + half + ((bits >> count) & 1)) & kept).view("float32")


def moved(x: Array, unit: float, salt: int) -> Array:
    """x (1 + unit * r), with r in [-1, 1) from a hash of x's bits and the salt."""
    mixed = (x.view("uint32") ^ (salt * 0x3C6EF372 & 0xFFFFFFFF)) * 0x9E3779B1  # (...) modulo 2^32
    r = ((mixed ^ (mixed >> 15)) >> 8).astype("float32") * 2.0**-23 - 1.0
    return x + x * (unit * r)


@dataclass(frozen=True)
class Rounding:
    """How a precision rounds.

    factors   of a product of activations;  results   of every operation;  head   factors of the head's product
    tanh      GELU's tanh: the GPU's own instruction has an error of up to 2^-11 (PTX ISA, tanh.approx)
    unit      largest relative error of rounding to the format, 2^-(mantissa + 1); in float32 of an operation, which
              rounds a few times inside
    """

    factors: Round = _unchanged
    results: Round = _unchanged
    head: Round = _unchanged
    tanh: Round = _unchanged
    unit: float = 2.0**-22

    def salted(self, salt: int) -> "Rounding":
        """Another rounding that is as good: numbers are moved by up to `unit` before they are rounded."""

        def after_moving(round_: Round) -> Round:
            return lambda x: round_(moved(x, self.unit, salt))

        if self.results is _unchanged and self.factors is not _unchanged:  # tf32
            factors, head = after_moving(self.factors), after_moving(self.head)
            return replace(self, factors=factors, head=head)
        return replace(self, results=after_moving(self.results))


ROUNDINGS = {
    "float32": Rounding(),
    "tf32": Rounding(factors=to_tf32, head=to_tf32, tanh=to_tf32, unit=2.0**-11),
    "bfloat16": Rounding(factors=to_bfloat16, results=to_bfloat16, tanh=to_tf32, unit=2.0**-8),
    "float16": Rounding(factors=to_float16, results=to_float16, tanh=to_tf32, unit=2.0**-11),
}


class _GenericOperations:
    """The generic operations, of which subclasses replace some."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ops, name)


class RoundedOperations(_GenericOperations):
    """The operations with factors and results rounded. Arrays are float32."""

    def __init__(self, rounding: Rounding) -> None:
        self._rounding = rounding

    def linear_forward(self, x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        factor, result = self._of(x)
        y, cache = ops.linear_forward(factor(x), factor(weight), bias)
        return result(y), cache

    def linear_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        factor, result = self._of(dy)
        dx, dweight, dbias = ops.linear_backward(factor(dy), cache)
        return result(dx), dweight, dbias

    def token_linear_forward(self, x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        factor, result = self._of(x)
        y, cache = ops.token_linear_forward(factor(x), factor(weight), bias)
        return result(y), cache

    def token_linear_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        factor, result = self._of(dy)
        dx, dweight, dbias = ops.token_linear_backward(factor(dy), cache)
        return result(dx), dweight, dbias

    def layer_norm_forward(self, x: Array, scale: Array, bias: Array, eps: float = 1e-6) -> tuple[Array, Cache]:
        y, cache = ops.layer_norm_forward(self._rounding.results(x), scale, bias, eps)
        return self._rounding.results(y), cache

    def layer_norm_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        dx, dscale, dbias = ops.layer_norm_backward(dy, cache)
        return self._rounding.results(dx), dscale, dbias

    def gelu_tanh_forward(self, x: Array) -> tuple[Array, Cache]:
        y, (x, t) = ops.gelu_tanh_forward(x)
        if self._rounding.tanh is not _unchanged:
            t = self._rounding.tanh(t)  # (...)
            y = 0.5 * x * (1.0 + t)  # (...)
        return self._rounded(y, (x, t))

    def gelu_tanh_backward(self, dy: Array, cache: Cache) -> Array:
        return self._rounding.results(ops.gelu_tanh_backward(dy, cache))

    def gelu_erf_forward(self, x: Array) -> tuple[Array, Cache]:
        return self._rounded(*ops.gelu_erf_forward(x))

    def gelu_erf_backward(self, dy: Array, cache: Cache) -> Array:
        return self._rounding.results(ops.gelu_erf_backward(dy, cache))

    def dropout_forward(self, x: Array, keep: Array, rate: float) -> tuple[Array, Cache]:
        return self._rounded(*ops.dropout_forward(x, keep, rate))

    def dropout_backward(self, dy: Array, cache: Cache) -> Array:
        return self._rounding.results(ops.dropout_backward(dy, cache))

    def drop_path_backward(self, dy: Array, cache: Cache) -> Array:
        return self._rounding.results(ops.drop_path_backward(dy, cache))

    def residual_sum(self, x: Array) -> Array:
        """The residual stream after a branch was added, or its gradient."""
        return self._rounding.results(x)

    def _of(self, array: Array) -> tuple[Round, Round]:
        """How a product rounds: the head's arrays (B, C) and (B, K) stay float32 where activations (S, B, C) do not."""
        if array.ndim == 2:
            return self._rounding.head, _unchanged
        return self._rounding.factors, self._rounding.results

    def _rounded(self, y: Array, cache: Cache) -> tuple[Array, Cache]:
        return self._rounding.results(y), cache


class RoundedBlock(MixerBlock):
    """A Mixer block whose residual sums are rounded, as the fused step stores them."""

    def _branch_forward(self, *arguments: Any) -> tuple[Array, Cache]:
        y, cache = super()._branch_forward(*arguments)
        return self._residual_sum(y), cache

    def _branch_backward(self, *arguments: Any) -> Array:
        return self._residual_sum(super()._branch_backward(*arguments))

    def _residual_sum(self, x: Array) -> Array:
        operations: Any = self.ops  # RoundedOperations
        return operations.residual_sum(x)


def round_residual_sums(model: MlpMixer) -> None:
    """Let the blocks of a model with `RoundedOperations` round their residual sums, which no operation computes."""
    for block in model.blocks:
        block.__class__ = RoundedBlock


class MagnitudeOperations(_GenericOperations):
    """The operations, with the gradients of parameters replaced by the sums of their terms' squares.

    dW[i, o] = sum_n x[n, i] dy[n, o] becomes sum_n x[n, i]^2 dy[n, o]^2, and so on. Independent relative errors u of
    the terms add up to u times the root of that, in the mean.
    """

    def linear_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        (x, weight), (dx, _, _) = cache, ops.linear_backward(dy, cache)
        return dx, *ops.linear_backward(dy * dy, (x * x, weight))[1:]

    def token_linear_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        (x, weight), (dx, _, _) = cache, ops.token_linear_backward(dy, cache)
        return dx, *ops.token_linear_backward(dy * dy, (x * x, weight))[1:]

    def layer_norm_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        (x_hat, _, _), (dx, _, _) = cache, ops.layer_norm_backward(dy, cache)
        xp, rows = namespace(dy), tuple(range(dy.ndim - 1))
        squares = dy * dy  # (..., C)
        return dx, xp.sum(squares * x_hat * x_hat, axis=rows), xp.sum(squares, axis=rows)


def rounded_operations(rounding: Rounding) -> Operations:
    return RoundedOperations(rounding)


def magnitude_operations() -> Operations:
    return MagnitudeOperations()
