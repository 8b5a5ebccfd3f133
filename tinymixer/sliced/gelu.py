"""GELU and its slope in one go, on pieces that stay in the cache.

A form says by which factor its input wants to be scaled (`input_scale`: x~ = input_scale * x) and by which factor its
slope comes out too small (`slope_scale`); the weights before and after carry both factors, so that no pass over the
activations is spent on a constant. What it computes is y = input_scale * gelu(x) and slope = (dy/dx~) / slope_scale.
"""

import math
from typing import Any

import numpy as np

from tinymixer.ops import gelu_erf_backward, gelu_erf_forward
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE


def _exponential() -> tuple[Any, float]:
    """The faster of 2^v and e^v with the logarithm of its base: 2^v where NumPy has vector code for it."""
    try:
        from numpy.lib.introspect import opt_func_info
    except ImportError:  # older than NumPy 2.2
        return np.exp, 1.0
    current = opt_func_info(func_name="^exp2$").get("exp2", {}).get("ff", {}).get("current", "baseline")
    return (np.exp, 1.0) if "baseline" in current else (np.exp2, math.log(2))


EXPONENTIAL, LOG_BASE = _exponential()


class TanhForm:
    """gelu(x) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): the tanh form, since 1 + tanh(u) = 2 sigmoid(2u).

    With x~ = input_scale * x, chosen so that the cubic's factor is 1 and the sign is right for base^v:

        sigmoid(2u) = 1 / (1 + base^v)        v = x~ (x~^2 + SHIFT)
    """

    input_scale = -((2 * TANH_SLOPE * TANH_CUBIC / LOG_BASE) ** (1 / 3))
    slope_scale = 3 * LOG_BASE
    SHIFT = -2 * TANH_SLOPE / LOG_BASE / input_scale

    @classmethod
    def forward(cls, x, y, v):
        """y from x~, with one scratch array v."""
        np.multiply(x, x, v)
        cls._denominator(x, v, v)
        np.divide(x, v, y)

    @classmethod
    def forward_with_slope(cls, x, y, slope, square, v):
        """y and slope from x~, which is spent; square and v are scratch.

        With sigmoid' = -sigmoid (1 - sigmoid) log(base) v' and x~ (1 - sigmoid) = x~ - y:

            dy/dx~ = sigmoid (1 - (x~ - y) log(base) v')        v' = 3 (x~^2 + SHIFT / 3)
        """
        np.multiply(x, x, square)
        cls._denominator(x, square, v)
        np.divide(x, v, y)
        np.add(square, cls.SHIFT / 3, square)
        np.subtract(x, y, x)
        np.multiply(x, square, x)
        np.subtract(1 / cls.slope_scale, x, x)
        np.divide(x, v, slope)

    @classmethod
    def _denominator(cls, x, square, v):
        """v = 1 + base^(x~ (x~^2 + SHIFT)); v may be the square."""
        np.add(square, cls.SHIFT, v)
        np.multiply(v, x, v)
        EXPONENTIAL(v, v)
        np.add(v, 1.0, v)


class ErfForm:
    """The exact form, by the generic operation: NumPy has no erf that could be made faster."""

    input_scale = 1.0
    slope_scale = 1.0

    @staticmethod
    def forward(x, y, v):
        np.copyto(y, gelu_erf_forward(x)[0])

    @staticmethod
    def forward_with_slope(x, y, slope, square, v):
        value, cache = gelu_erf_forward(x)
        np.copyto(slope, gelu_erf_backward(np.ones_like(x), cache))
        np.copyto(y, value)


FORMS = {"tanh": TanhForm, "erf": ErfForm}
