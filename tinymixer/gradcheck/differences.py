"""Numerical derivatives: how they are computed, how far each can be trusted, and what they say at a kink.

**Central differences.** (f(t) - f(-t)) / 2t has two errors. *Truncation* shrinks with the step, like t^2: the curve is
not a line. *Rounding* grows as the step shrinks, like (noise of f) / t: two close numbers are subtracted. No single
step suits every function. So the steps shrink by factors of four, from a 64th of the input's own magnitude.
Richardson's extrapolation removes the t^2 and the t^4 terms (Ridders 1982; Press et al., Numerical Recipes, section
5.7). Each entry of that table has an estimate of its error: its distance from its neighbours, and at least the noise of
f divided by the step. For every output the entry with the smallest estimate wins. Smooth functions settle within three
steps, at about 1e-12; a kink nearby, or logits in the thousands, take a few more.

**Sizes.** Steps and tolerances follow from the size of the inputs, of the outputs and of the rounding.

**Kinks.** ReLU at 0 and a maximum over equal numbers have no derivative. The forward cannot say which gradient is right
there, but it can say which is wrong: along any direction, a right one lies between the slopes on the left, on the right
and at points nearby. Points nearby are needed for ties of three and more: the median of three equal numbers has one
slope along every direction, and three gradients to choose from. Directions through many elements show what no single
element shows: a maximum over two equal numbers may give its gradient to either, or half to each, but not to both.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import FOREIGN, Named, largest
from tinymixer.gradcheck.comparison import LAST_BIT, Expected
from tinymixer.gradcheck.target import Target

FIRST_STEP = 2.0**-6  # of the input's magnitude
STEP_RATIO = 4.0
STEPS = 20  # down to 2^-44 of the input's magnitude, for what varies within a millionth of it
ORDERS = 2  # how many of the error's terms extrapolation removes: t^2 and t^4
COMPLEX_STEP = 2.0**-100  # of the input's magnitude: its square vanishes beside 1
LAST_BIT_32 = float(np.finfo(np.float32).eps)

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

    ratio    a step a fourth as long divides the first term of the error by ratio, the second by ratio^2, and so on
    orders   how many terms are removed
    """
    step = power_of_two(magnitude) * FIRST_STEP
    coarser: list[np.ndarray] = []
    value = np.asarray(np.nan)
    error = np.asarray(np.inf)
    for level in range(STEPS):
        table, rounding = [slope(step)], 4 * noise / step
        for order, neighbour in enumerate(coarser[:orders], start=1):
            table.append(table[-1] + (table[-1] - neighbour) / (ratio**order - 1))
        for order in range(1, len(table)):
            moved = np.maximum(abs(table[order] - table[order - 1]), abs(table[order] - coarser[order - 1]))
            estimate = np.maximum(moved, rounding)
            better = estimate < error  # never where it is NaN or infinite
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


@dataclass
class Path:
    """The outputs (flat) as a function of t, with inputs moved by t along a step of each.

    noise       (outputs,): the rounding error of each output
    magnitude   the size of what moves, from which the steps of t are chosen
    finer       a smaller magnitude and the noise to be assumed with it, where the mean size of an array is too large
                for one of its elements (the square root of 1e-12 beside 1)
    """

    target: Target
    steps: Named
    noise: np.ndarray
    magnitude: float = 1.0
    finer: tuple[float, np.ndarray] | None = None

    def __call__(self, t: complex, shift: Named | None = None) -> np.ndarray:
        inputs = self.target.inputs
        start = inputs if shift is None else {name: inputs[name] + shift[name] for name in self.steps}
        return self.target.output({name: start[name] + t * step for name, step in self.steps.items()})


def differentiated(paths: list[Path], size: float, tolerance: float) -> Expected:
    """The derivative of every output along every path (outputs, paths).

    size   of the outputs
    """
    columns, natural = [], size / max(path.magnitude for path in paths)
    for path in paths:
        value, error = derivative(path, path.magnitude, path.noise)
        if path.finer is not None and not Expected(value, error, natural, tolerance).settled().all():
            finer, its_error = derivative(path, *path.finer)
            value, error = np.where(its_error < error, finer, value), np.minimum(its_error, error)
        columns.append((np.broadcast_to(value, path.noise.shape), np.broadcast_to(error, path.noise.shape)))
    values, uncertainty = (np.array(part).T for part in zip(*columns, strict=True))
    return Expected(values, uncertainty, natural, tolerance)


def element_sizes(host: np.ndarray) -> np.ndarray:
    """The size from which the step of each element is chosen: its own size or, if larger, the mean size of all."""
    size = abs(host).ravel()
    mean = float(size.mean()) if size.size else 0.0
    return np.maximum(size, mean) if mean else np.ones(host.size)


def own_sizes(host: np.ndarray) -> np.ndarray:
    """The size of each element, in the shape of the array. For a zero it is the mean size of all elements."""
    return np.where(host == 0, element_sizes(host).reshape(host.shape), abs(host))


def output_size(target: Target, name: str) -> float:
    """The largest output, here or with the sign of the input changed. A derivative times x may be as large.

    The input of the other sign is needed where outputs cancel: the loss of a sample that is surely right is nearly 0,
    and the numbers it is computed from are not. An output that is 0 everywhere says nothing: rounding of numbers near 1
    is assumed.
    """
    return max(largest(target.base), largest(target.mirrored(name))) or 1.0


def rounding_noise(target: Target, name: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rounding error of each output while one input moves: what is assumed, and what was measured.

    For a smooth function y(t) - 2 y(0) + y(-t) is of the order t^2. Here t is a few of the last bits of each element:
    x + t is exact and t^2 vanishes. What remains is rounding, including the cancellation inside the forward. Outputs
    that hardly move (a loss of 1e-12) do not show it: at least the last bit of the numbers they came from is assumed.
    """
    host = target.inputs[name]
    last_bit = LAST_BIT_32 if target.only32 else LAST_BIT
    tiny = 2.0**-49 * np.reshape([power_of_two(size) for size in own_sizes(host).ravel()], host.shape)
    choices = [-4.0, -2.0, -1.0, 1.0, 2.0, 4.0]
    paths = [Path(target, {name: tiny * generator.choice(choices, host.shape)}, np.zeros(0)) for _ in range(2)]
    measured = np.maximum.reduce([last_bit * abs(target.base), *(_second_difference(path, 1.0) for path in paths)])
    assumed = np.maximum(measured, last_bit * min(output_size(target, name), largest(host)))
    return np.maximum(assumed, 0.1 * largest(assumed)), measured


def joint_noise(target: Target, paths: list[Path]) -> np.ndarray:
    """The same while all inputs move at once, along some paths."""
    sizes = [min(output_size(target, name), largest(target.inputs[name])) for name in target.passed or target.inputs]
    assumed = np.full(target.base.shape, LAST_BIT * max(largest(target.base), *sizes))
    return np.maximum.reduce([assumed, *(_second_difference(path, 2.0**-40) for path in paths[:2])])


def _second_difference(path: Path, t: float) -> np.ndarray:
    """|y(t) - 2 y(0) + y(-t)|, 0 where it is not finite."""
    apart = abs(path(t) - 2 * path.target.base + path(-t))
    return np.where(np.isfinite(apart), apart, 0.0)


DRAWS = 24  # points nearby; one of n equal numbers is the chosen one in 1 of n
SLACK = 1e-4  # of the slopes, which are one-sided differences with a step of 2^-18


@dataclass
class Slopes:
    """For each output the smallest and the largest slope found, and whether they differ for good: a kink."""

    low: np.ndarray
    high: np.ndarray
    kink: np.ndarray

    def accepts(self, claimed: np.ndarray) -> np.ndarray:
        """For each output, whether it has a kink here and the claimed derivative lies between its slopes."""
        slack = SLACK * np.maximum(abs(self.low), abs(self.high))
        return self.kink & (self.low - slack <= claimed) & (claimed <= self.high + slack)


def slopes_around(path: Path, generator: np.random.Generator, draws: int = DRAWS) -> Slopes:
    """The slopes along a path: to the left, to the right and, with `draws`, at points nearby."""
    inputs = path.target.inputs
    shifts: list[Named] = [
        {name: own_sizes(inputs[name]) * generator.standard_normal(inputs[name].shape) for name in path.steps}
        for _ in range(draws)
    ]
    middle = path(0.0)
    widths = []
    with np.errstate(all="ignore"):
        for closeness in (2.0**-14, 2.0**-18):
            step = power_of_two(path.magnitude) * closeness
            found = [(middle - path(-step)) / step, (path(step) - middle) / step]
            short = step / 64
            for shift in shifts:
                near = {name: closeness * array for name, array in shift.items()}
                found.append((path(short, near) - path(-short, near)) / (2 * short))
            low, high = np.min(found, axis=0), np.max(found, axis=0)
            widths.append(high - low)
        # A curve's slopes grow alike as the step shrinks by sixteen, and those of a jump apart; those of a kink stay.
        stays = (widths[1] > 0.5 * widths[0]) & (widths[1] < 4 * widths[0])
        kink = stays & (widths[1] > 1e-3 * np.maximum(abs(low), abs(high))) & (widths[1] > 64 * path.noise / short)
    return Slopes(low, high, kink)
