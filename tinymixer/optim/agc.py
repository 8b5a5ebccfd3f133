"""Adaptive gradient clipping: no weight's gradient may be large beside the weight itself."""

from typing import Any

from tinymixer.ops.array_library import Array, namespace
from tinymixer.parameters import Parameters

SMALLEST_WEIGHT = 1e-3  # norm that a unit's weights count as at least: those that start at zero must be able to grow
SMALLEST_GRADIENT = 1e-6  # keeps the quotient finite where a gradient is zero
LEFT_ALONE = "head."  # the last Linear is not clipped (section 4.1)


def clip_adaptively(parameters: Parameters, factor: float) -> None:
    """Clip the gradients, in place, unit by unit (Brock et al. 2021b, arXiv 2102.06171, eq. 3).

        g_i *= min(1, factor * max(|w_i|, 1e-3) / |g_i|)

    factor   lambda, the largest ratio of the norms of a unit's gradient and weights; 0.01 to 0.1 in the paper

    A unit i is what leads to one output: all weights with the same last index, (kh, kw, I) of a convolution's (kh, kw,
    I, O) and (I,) of a Linear's (I, O). A vector, such as a bias, is one unit. (Token mixing multiplies from the left,
    so there the units are its inputs.) The head is left alone.
    """
    for name in parameters.names:
        if not name.startswith(LEFT_ALONE):
            gradient = parameters.gradient(name)
            xp = namespace(gradient)
            largest = factor * xp.maximum(unit_norms(parameters[name]), SMALLEST_WEIGHT)  # (O,) or ()
            gradient *= xp.minimum(largest / xp.maximum(unit_norms(gradient), SMALLEST_GRADIENT), 1.0)


def unit_norms(array: Array) -> Any:
    """The Euclidean norm of each unit: (..., O) -> (O,), and of a vector () as a whole."""
    xp = namespace(array)
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else None
    return xp.sqrt(xp.sum(array * array, axis=axes))
