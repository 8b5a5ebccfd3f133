"""GELU, the Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), in both its forms."""

import math

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.normal_distribution import normal_cdf

# Python floats on purpose: a NumPy scalar such as np.sqrt(2 / np.pi) would turn float32 arrays into float64.
TANH_SLOPE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715
DENSITY_AT_ZERO = 1 / math.sqrt(2 * math.pi)


def gelu_tanh_forward(x: Array) -> tuple[Array, Cache]:
    """The tanh form, which the Mixer authors' code uses.

    x (...)  ->  y (...)

        u = sqrt(2 / pi) * (x + 0.044715 x^3)        y = x/2 * (1 + tanh(u))

    See: lessons/04_gelu.ipynb, "gelu_tanh" in lessons/cheatsheet.md, tests/ops/test_gelu_tanh.py
    """
    xp = namespace(x)
    t = xp.tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x))  # (...)
    return 0.5 * x * (1.0 + t), (x, t)


def gelu_tanh_backward(dy: Array, cache: Cache) -> Array:
    """Product rule, with t = tanh(u) and tanh'(u) = 1 - t^2:

        dy/dx = (1 + t)/2 + x/2 * (1 - t^2) * du/dx        du/dx = sqrt(2 / pi) * (1 + 3 * 0.044715 x^2)

    dy (...)  ->  dx (...)
    """
    x, t = cache
    du_dx = TANH_SLOPE * (1.0 + 3.0 * TANH_CUBIC * x * x)  # (...)
    return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du_dx)


def gelu_erf_forward(x: Array) -> tuple[Array, Cache]:
    """The exact form, x times the probability that a standard normal variable is below x.

    x (...)  ->  y (...)

        y = x * Phi(x)        Phi(x) = (1 + erf(x / sqrt(2))) / 2

    See: lessons/04_gelu.ipynb, "gelu_erf" in lessons/cheatsheet.md, tests/ops/test_gelu_erf.py
    """
    probability = normal_cdf(x)  # (...)
    return x * probability, (x, probability)


def gelu_erf_backward(dy: Array, cache: Cache) -> Array:
    """Product rule; the derivative of Phi is the normal density:

        dy/dx = Phi(x) + x * phi(x)        phi(x) = exp(-x^2 / 2) / sqrt(2 pi)

    dy (...)  ->  dx (...)
    """
    xp = namespace(dy)
    x, probability = cache
    density = DENSITY_AT_ZERO * xp.exp(-0.5 * x * x)  # (...)
    return dy * (probability + x * density)
