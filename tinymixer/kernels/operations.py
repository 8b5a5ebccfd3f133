"""Faster versions of some operations of `tinymixer.ops` for CuPy arrays, with the same signatures.

A Mixer that runs through its layers (a gradient check, evaluation, a notebook) uses these with `kernels="auto"`. Where
there is no kernel (float64 and complex numbers, an x whose memory is not in C order), the generic operation is called.

A kernel reads memory, not an array: one number after the other, whatever the strides say. `_flat` brings what a kernel
reads into that order, and `Kernels.launch` refuses anything else.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.protocol import Operations
from tinymixer.ops.shapes import expect_shape

NUMBERS = {"float32": "float", "float16": "__half", "bfloat16": "__nv_bfloat16"}

i32, i64, f32 = np.int32, np.int64, np.float32


def fused_operations(cupy: Any) -> Operations:
    """All operations, some of them computed by kernels."""
    return FusedOperations(cupy)


@dataclass(frozen=True)
class FusedCache:
    """The cache that a fused forward pass returns for its backward pass; generic operations return tuples."""

    arrays: tuple[Any, ...]


class FusedOperations:
    """The faster operations, the generic ones for everything else, and the kernels compiled so far."""

    linear_forward = staticmethod(ops.linear_forward)
    linear_backward = staticmethod(ops.linear_backward)
    token_linear_forward = staticmethod(ops.token_linear_forward)
    token_linear_backward = staticmethod(ops.token_linear_backward)
    mean_over_tokens_forward = staticmethod(ops.mean_over_tokens_forward)
    mean_over_tokens_backward = staticmethod(ops.mean_over_tokens_backward)
    pool_tokens_forward = staticmethod(ops.pool_tokens_forward)
    pool_tokens_backward = staticmethod(ops.pool_tokens_backward)
    dropout_forward = staticmethod(ops.dropout_forward)
    dropout_backward = staticmethod(ops.dropout_backward)
    drop_path_forward = staticmethod(ops.drop_path_forward)
    drop_path_backward = staticmethod(ops.drop_path_backward)
    layer_scale_forward = staticmethod(ops.layer_scale_forward)
    layer_scale_backward = staticmethod(ops.layer_scale_backward)
    gate_forward = staticmethod(ops.gate_forward)
    gate_backward = staticmethod(ops.gate_backward)
    images_to_patches_forward = staticmethod(ops.images_to_patches_forward)
    images_to_patches_backward = staticmethod(ops.images_to_patches_backward)
    convolution_forward = staticmethod(ops.convolution_forward)
    convolution_backward = staticmethod(ops.convolution_backward)
    max_pooling_forward = staticmethod(ops.max_pooling_forward)
    max_pooling_backward = staticmethod(ops.max_pooling_backward)
    average_pooling_forward = staticmethod(ops.average_pooling_forward)
    average_pooling_backward = staticmethod(ops.average_pooling_backward)
    global_average_pooling_forward = staticmethod(ops.global_average_pooling_forward)
    global_average_pooling_backward = staticmethod(ops.global_average_pooling_backward)
    relu_forward = staticmethod(ops.relu_forward)
    relu_backward = staticmethod(ops.relu_backward)
    batch_norm_forward = staticmethod(ops.batch_norm_forward)
    batch_norm_backward = staticmethod(ops.batch_norm_backward)
    batch_norm_inference_forward = staticmethod(ops.batch_norm_inference_forward)
    batch_norm_inference_backward = staticmethod(ops.batch_norm_inference_backward)
    group_norm_forward = staticmethod(ops.group_norm_forward)
    group_norm_backward = staticmethod(ops.group_norm_backward)
    weight_standardisation_forward = staticmethod(ops.weight_standardisation_forward)
    weight_standardisation_backward = staticmethod(ops.weight_standardisation_backward)
    scaled_weight_standardisation_forward = staticmethod(ops.scaled_weight_standardisation_forward)
    scaled_weight_standardisation_backward = staticmethod(ops.scaled_weight_standardisation_backward)
    softmax_forward = staticmethod(ops.softmax_forward)
    softmax_backward = staticmethod(ops.softmax_backward)
    self_attention_forward = staticmethod(ops.self_attention_forward)
    self_attention_backward = staticmethod(ops.self_attention_backward)
    relative_attention_forward = staticmethod(ops.relative_attention_forward)
    relative_attention_backward = staticmethod(ops.relative_attention_backward)
    position_embedding_forward = staticmethod(ops.position_embedding_forward)
    position_embedding_backward = staticmethod(ops.position_embedding_backward)
    prepend_class_token_forward = staticmethod(ops.prepend_class_token_forward)
    prepend_class_token_backward = staticmethod(ops.prepend_class_token_backward)
    take_class_token_forward = staticmethod(ops.take_class_token_forward)
    take_class_token_backward = staticmethod(ops.take_class_token_backward)
    images_to_windows_forward = staticmethod(ops.images_to_windows_forward)
    images_to_windows_backward = staticmethod(ops.images_to_windows_backward)
    softmax_cross_entropy = staticmethod(ops.softmax_cross_entropy)
    softmax_cross_entropy_forward = staticmethod(ops.softmax_cross_entropy_forward)
    softmax_cross_entropy_backward = staticmethod(ops.softmax_cross_entropy_backward)

    def __init__(self, cupy: Any) -> None:
        self._cupy, self._generic_alone = cupy, False
        self._compiled: Callable[[str], Kernels] = functools.cache(lambda name: Kernels(cupy, [name]))

    def _launch(self, name: str, layout: layouts.Launch, *arguments: Any) -> None:
        self._compiled(name).launch(name, layout, *arguments)

    def use_generic_operations(self) -> None:
        """From now on compute everything by the generic operations: the kernels do not work on this machine."""
        self._generic_alone = True

    def _flat(self, array: Array, dtype: Any) -> Array:
        """The array as kernels read it: one number after the other in C order, in that format. Copied if need be."""
        as_it_is = array.flags.c_contiguous and array.dtype == dtype
        return array if as_it_is else self._copied_flat(array, dtype)

    def _copied_flat(self, array: Array, dtype: Any) -> Array:
        """A copy in C order. (`astype` and `copy` may keep the order of a transposed array's memory.)"""
        copy = self._cupy.empty(array.shape, dtype)
        copy[...] = array
        return copy

    @functools.cached_property
    def _multiprocessors(self) -> int:
        return int(self._cupy.cuda.Device().attributes["MultiProcessorCount"])

    # ------------------------------------------------------------------------------------------ GELU

    def gelu_tanh_forward(self, x: Array) -> tuple[Array, Cache]:
        """As `ops.gelu_tanh_forward`; the cache holds only x, and the backward pass recomputes the tanh."""
        return self._gelu_forward("TanhGelu", ops.gelu_tanh_forward, x)

    def gelu_erf_forward(self, x: Array) -> tuple[Array, Cache]:
        """As `ops.gelu_erf_forward`; the cache holds only x, and the backward pass recomputes the erf."""
        return self._gelu_forward("ErfGelu", ops.gelu_erf_forward, x)

    def gelu_tanh_backward(self, dy: Array, cache: Cache) -> Array:
        """As `ops.gelu_tanh_backward`."""
        return self._gelu_backward("TanhGelu", ops.gelu_tanh_backward, dy, cache)

    def gelu_erf_backward(self, dy: Array, cache: Cache) -> Array:
        """As `ops.gelu_erf_backward`."""
        return self._gelu_backward("ErfGelu", ops.gelu_erf_backward, dy, cache)

    def _gelu_forward(
        self, gelu: str, generic: Callable[[Array], tuple[Array, Cache]], x: Array
    ) -> tuple[Array, Cache]:
        number = _number(x)
        if number is None or self._generic_alone:
            return generic(x)
        y = self._cupy.empty(x.shape, x.dtype)  # (...)
        vector = layouts.vector_width(x.dtype.itemsize, x.size, layouts.all_aligned(x, y))
        layout = layouts.over_rows(1, x.size, vector, self._multiprocessors)
        self._launch(f"bias_gelu_forward_rows<{number}, {vector}, {gelu}>", layout, x, None, y, i64(x.size))
        return y, FusedCache((x,))

    def _gelu_backward(self, gelu: str, generic: Callable[[Array, Cache], Array], dy: Array, cache: Cache) -> Array:
        if not isinstance(cache, FusedCache):
            return generic(dy, cache)
        (x,) = cache.arrays
        dx = self._copied_flat(_of_shape("dy", dy, x.shape), x.dtype)  # (...) the kernel works in place
        vector = layouts.vector_width(x.dtype.itemsize, x.size, layouts.all_aligned(x, dx))
        layout = layouts.over_rows(1, x.size, vector, self._multiprocessors)
        unused_sums = self._cupy.empty(layout.grid[0], np.float32)
        name = f"bias_gelu_backward_rows<{_number(x)}, {vector}, {gelu}>"
        self._launch(name, layout, dx, x, None, unused_sums, i64(x.size), i32(0))
        return dx

    # ------------------------------------------------------------------------------------------ LayerNorm

    def layer_norm_forward(self, x: Array, scale: Array, bias: Array, eps: float = 1e-6) -> tuple[Array, Cache]:
        """As `ops.layer_norm_forward`, in one pass."""
        number = _number(x)
        in_float32 = all(str(parameter.dtype) == "float32" for parameter in (scale, bias))
        if number is None or self._generic_alone or not in_float32:
            return ops.layer_norm_forward(x, scale, bias, eps)
        channels = x.shape[-1]
        expect_shape("scale", scale, "C", C=channels)
        expect_shape("bias", bias, "C", C=channels)
        scale, bias = self._flat(scale, scale.dtype), self._flat(bias, bias.dtype)  # (C,) each
        y = self._cupy.empty(x.shape, x.dtype)  # (..., C)
        aligned = layouts.all_aligned(x, scale, bias, y)
        rows, row = x.size // channels, layouts.RowLayout.of(channels, x.dtype.itemsize, aligned)
        mean, inv_std = (self._cupy.empty(rows, np.float32) for _ in range(2))  # (rows,) each
        self._launch(
            f"layer_norm_forward<{number}, {row.template}>", row.every_row(rows), x, None, None, None,
            scale, bias, None, y, mean, inv_std, i32(rows), i32(channels), i32(1), i32(0), f32(eps),
        )  # fmt: skip
        return y, FusedCache((x, scale, mean, inv_std))

    def layer_norm_backward(self, dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
        """As `ops.layer_norm_backward`: one pass over the arrays, then one over the blocks' partial sums."""
        if not isinstance(cache, FusedCache):
            return ops.layer_norm_backward(dy, cache)
        x, scale, mean, inv_std = cache.arrays
        channels = scale.shape[0]
        expect_shape("dy", dy, "... C", C=channels)
        dy = self._flat(_of_shape("dy", dy, x.shape), x.dtype)  # (..., C)
        dx = self._cupy.empty(x.shape, x.dtype)  # (..., C)
        aligned = layouts.all_aligned(dy, x, scale, dx)
        rows, row = x.size // channels, layouts.RowLayout.of(channels, x.dtype.itemsize, aligned)
        layout = row.persistent(rows, channels, self._multiprocessors)
        partial = self._cupy.empty((2, layout.grid[0], channels), np.float32)  # (2, blocks, C)
        self._launch(
            f"layer_norm_backward<{_number(x)}, {row.template}>", layout,
            dy, None, x, scale, mean, inv_std, None, None, dx, None,
            partial[0], partial[1], None, None, i32(rows), i32(channels), i32(1), i32(0),
        )  # fmt: skip
        sums = partial.sum(axis=1)  # (2, C)
        return dx, sums[0], sums[1]


def _number(x: Array) -> str | None:
    """The C++ name of an array's format; None where there is no kernel for it."""
    return NUMBERS.get(str(x.dtype)) if x.size and x.flags.c_contiguous else None


def _of_shape(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """The array. Raises ShapeError where it has another shape: a kernel knows only how many numbers to read."""
    if tuple(array.shape) != tuple(shape):
        raise ShapeError(f"expected {name} of shape {tuple(shape)}, got {tuple(array.shape)}")
    return array
