"""Numerical derivatives: central differences that know how far they can be trusted, and the complex step.

A central difference (f(t) - f(-t)) / 2t has two errors that pull against each other. *Truncation* shrinks with the
step, like t^2: the curve is not a line. *Rounding* grows as it shrinks, like (noise of f) / t: subtracting two close
numbers keeps the noise and loses the signal. No single step suits every function, so none is trusted here. The steps
go down by factors of four, from a 64th of the input's own magnitude. Richardson's extrapolation cancels the t^2 and
the t^4 terms of neighbouring steps (Ridders 1982; Press et al., Numerical Recipes, section 5.7), and each entry of
that table carries an estimate of its error: how far it moved from its neighbours, and no less than the noise of f
divided by the step. For every output the entry with the smallest estimate wins. Smooth functions settle within three
steps, at about 1e-12; a kink nearby, or logits in the thousands, only take a few more.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import FOREIGN, largest

FIRST_STEP = 2.0**-6  # of the input's magnitude
STEP_RATIO = 4.0
STEPS = 20  # down to 2^-44 of the input's magnitude, for what varies within a millionth of it
ORDERS = 2  # how many of the error's terms extrapolation removes: t^2 and t^4
COMPLEX_STEP = 2.0**-100  # of the input's magnitude: its square vanishes beside 1

Function = Callable[[Any], np.ndarray]  # of the displacement, a float or for the complex step a complex number


def power_of_two(magnitude: float) -> float:
    """The power of two nearest to a magnitude (1 for zero): steps that are powers of two are exact in binary."""
    if not np.isfinite(magnitude) or magnitude <= 0:
        return 1.0
    return float(2.0 ** np.clip(np.round(np.log2(magnitude)), -200, 200))


def derivative(function: Function, magnitude: float, noise: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of `function` at 0 and, for each output, an estimate of its error.

    function(t)  a float64 array of outputs where the input is moved by t
    magnitude    the size of the input along the direction it is moved
    noise        how much evaluating the function is off by, for each output or for all of them

    At the edge of a domain, where one of the two sides gives no finite answer, the slope on the other side counts.
    Where no step gives a finite answer the value is NaN and its error infinite.
    """

    def central(step: float) -> np.ndarray:
        return (function(step) - function(-step)) / (2 * step)

    with np.errstate(all="ignore"):
        value, error = _extrapolated(central, magnitude, noise, STEP_RATIO**2, ORDERS)
        if np.isfinite(value).all():
            return value, error
        middle = function(0.0)
        for side in (1.0, -1.0):

            def slope(step: float, side: float = side) -> np.ndarray:
                return (function(side * step) - middle) / (side * step)

            if np.isfinite(slope(power_of_two(magnitude) * FIRST_STEP / STEP_RATIO**4)).any():
                one, its_error = _extrapolated(slope, magnitude, noise, STEP_RATIO, 2 * ORDERS)
                missing = ~np.isfinite(value) & np.isfinite(one)
                value, error = np.where(missing, one, value), np.where(missing, its_error, error)
    return value, error


def _extrapolated(
    slope: Callable[[float], np.ndarray], magnitude: float, noise: np.ndarray | float, ratio: float, orders: int
) -> tuple[np.ndarray, np.ndarray]:
    """The limit of slope(step) for small steps, by Richardson's table, and its error.

    ratio    by how much a step a fourth as long makes the first term of the error smaller, and every further term more
    orders   how many terms are removed
    """
    step = power_of_two(magnitude) * FIRST_STEP
    coarser: list[np.ndarray] = []
    value = np.asarray(np.nan)
    error = np.asarray(np.inf)
    for level in range(STEPS):
        table = [slope(step)]
        for order, neighbour in enumerate(coarser[:orders], start=1):
            table.append(table[-1] + (table[-1] - neighbour) / (ratio**order - 1))
        for order in range(1, len(table)):
            moved = np.maximum(abs(table[order] - table[order - 1]), abs(table[order] - coarser[order - 1]))
            estimate = np.maximum(moved, 4 * noise / step)
            estimate = np.where(np.isfinite(estimate), estimate, np.inf)
            better = estimate < error
            value, error = np.where(better, table[order], value), np.where(better, estimate, error)
        coarser = table
        step /= STEP_RATIO
        if level >= orders and np.all(error <= np.maximum(1e-10 * largest(value), 4 * noise / step)):
            break  # settled, or a smaller step could only be noisier
    return value, error


def complex_step(function: Function, magnitude: float) -> np.ndarray | None:
    """The derivative of `function` at 0 as Im f(ih) / h, exact to rounding; None where it takes no complex numbers.

    f(ih) = f(0) + ih f'(0) - h^2 ...: nothing is subtracted, so h may be as small as one likes and both errors of a
    difference are gone (Squire & Trapp 1998). It holds for analytic functions only: a forward that uses abs or casts to
    float loses the imaginary part and would give a wrong derivative without a word, so the caller compares the answer
    with central differences before trusting it.
    """
    step = power_of_two(magnitude) * COMPLEX_STEP
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = np.asarray(function(1j * step))
    except FOREIGN:
        return None
    if outputs.dtype.kind != "c":
        return None
    return outputs.imag / step
