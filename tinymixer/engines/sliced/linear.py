"""A Linear whose bias is added in place. To compare: `ops/linear.py`, which has its backward pass."""

import numpy as np

from tinymixer.ops.shapes import expect_shape


def linear_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """x (..., I), weight (I, O), bias (O,)  ->  y (..., O), cache"""
    inputs, outputs = weight.shape
    expect_shape("x", x, "... I", I=inputs)
    expect_shape("bias", bias, "O", O=outputs)
    y = x.reshape(-1, inputs) @ weight  # (rows, O)
    y += bias
    return y.reshape(*x.shape[:-1], outputs), (x, weight)
