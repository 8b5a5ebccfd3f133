"""GELU by tanh, with its slope made in the forward pass, while x is in the cache. To compare: `ops/gelu.py`."""

import numpy as np

from tinymixer.engines.sliced.parts import flat_rows, parts_of
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE


def gelu_tanh_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (..., C)  ->  y (..., C), and as the cache its slope dy/dx (..., C)

    With p = (1 + tanh(u)) / 2, y = x p and (1 - tanh(u)^2) / 2 = 2 p (1 - p), so that the slope is

        dy/dx = p + v (1 - p) = v + p (1 - v)        v = 2 y du/dx
    """
    cubic = TANH_SLOPE * TANH_CUBIC
    y, slope = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)  # (..., C) each
    rows, y_rows, slopes = flat_rows(x), flat_rows(y), flat_rows(slope)
    for part in parts_of(rows):
        here, v = rows[part], slopes[part]
        np.multiply(here, here, out=v)
        p = v * cubic
        p += TANH_SLOPE
        p *= here  # u = sqrt(2 / pi) (x + 0.044715 x^3)
        np.tanh(p, out=p)
        p *= 0.5
        p += 0.5
        np.multiply(here, p, out=y_rows[part])
        v *= 6 * cubic
        v += 2 * TANH_SLOPE
        v *= y_rows[part]  # 2 y du/dx
        p -= p * v
        v += p
    return y, slope


def gelu_tanh_backward(dy: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """dy (..., C)  ->  dx (..., C)"""
    return dy * slope
