"""The operations of one thread that computes slices of a batch."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.engines.sliced import batch_norm, gelu, layer_norm
from tinymixer.engines.sliced.shared_sums import SharedSums
from tinymixer.ops.array_library import Cache
from tinymixer.ops.batch_norm import BatchNormCache
from tinymixer.ops.shapes import expect_shape


class SlicedOperations:
    """`tinymixer.ops` for NumPy, some of them in few passes, and batch norm with the sums of all threads.

    thread   which of the threads this is
    sums     that they share
    """

    def __init__(self, thread: int, sums: SharedSums) -> None:
        self._thread, self._sums = thread, sums

    def __getattr__(self, name: str) -> Any:
        return getattr(ops, name)

    def batch_norm_forward(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float = 1e-5
    ) -> tuple[np.ndarray, BatchNormCache]:
        return batch_norm.batch_norm_forward(x, scale, bias, eps, self._add_up)

    def batch_norm_backward(self, dy: np.ndarray, cache: BatchNormCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return batch_norm.batch_norm_backward(dy, cache, self._add_up)

    def layer_norm_forward(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float = 1e-6
    ) -> tuple[np.ndarray, Cache]:
        return layer_norm.layer_norm_forward(x, scale, bias, eps)

    def layer_norm_backward(self, dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return layer_norm.layer_norm_backward(dy, cache)

    def gelu_tanh_forward(self, x: np.ndarray) -> tuple[np.ndarray, Cache]:
        return gelu.gelu_tanh_forward(x)

    def gelu_tanh_backward(self, dy: np.ndarray, cache: Cache) -> np.ndarray:
        return gelu.gelu_tanh_backward(dy, cache)

    def linear_forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, Cache]:
        """As `ops.linear_forward`, with the bias added in place."""
        inputs, outputs = weight.shape
        expect_shape("x", x, "... I", I=inputs)
        expect_shape("bias", bias, "O", O=outputs)
        y = x.reshape(-1, inputs) @ weight  # (rows, O)
        y += bias
        return y.reshape(*x.shape[:-1], outputs), (x, weight)

    def _add_up(self, part: np.ndarray) -> np.ndarray:
        return self._sums(self._thread, part)
