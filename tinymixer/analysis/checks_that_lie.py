"""Gradient checks with one flaw each, and how often they catch the planted faults: the experiment of lesson 03.

Every check compares a backward pass with central differences, element by element. The first of `NAIVE_CHECKS` has none
of the flaws. Each of the others changes something about it: dy, the dtype, which elements are compared, or the
values of the parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import PLANTED_FAULTS, PlantedFault
from tinymixer.gradcheck.planted_faults.registry import Draw

SMALL = 1e-3  # the floor of a relative error's divisor, as a fraction of the largest element (or of 1)
OPERATIONS = ("linear", "layer_norm", "gelu_tanh", "gelu_erf")


@dataclass(frozen=True)
class NaiveCheck:
    """A gradient check by central differences.

    name        names its flaw
    cotangent   makes dy from the output's shape, the first input and a random generator
    dtype       of the finite differences
    h           their step, as a fraction of the input's mean size
    tolerance   the largest relative error that passes; right gradients must pass
    one_index   compare one random element of each input instead of all
    fresh       give parameters the values of a new layer: scales 1, biases 0
    """

    name: str
    cotangent: Callable[[tuple[int, ...], np.ndarray, np.random.Generator], np.ndarray]
    dtype: str = "float64"
    h: float = 1e-5
    tolerance: float = 1e-6
    one_index: bool = False
    fresh: bool = False

    def passes(self, fault: PlantedFault, seed: int, right: bool = False) -> bool:
        """Whether the planted fault passes the check; with `right`, whether the right backward does."""
        inputs, constants, dy, expected = _measured(self, fault.operation, fault.inputs, seed)
        backward: Any = getattr(ops, f"{fault.operation}_backward") if right else fault.backward
        gradients = backward(dy, fault.forward(*inputs, *constants)[1])
        got = gradients if isinstance(gradients, tuple) else (gradients,)
        if [gradient.shape for gradient in got] != [array.shape for array in inputs]:
            return False
        generator = np.random.default_rng([seed, 1])
        for numerical, gradient in zip(expected, got, strict=True):
            index: Any = tuple(generator.integers(size) for size in gradient.shape) if self.one_index else ...
            if not relative_error(numerical[index], gradient[index]) < self.tolerance:
                return False
        return True

    def catches(self, fault: PlantedFault, seed: int) -> bool:
        """Whether the planted fault fails the check and the right backward passes it."""
        return self.passes(fault, seed, right=True) and not self.passes(fault, seed)

    def draw(self, operation: str, draw: Draw, generator: np.random.Generator) -> tuple[list[np.ndarray], list[Any]]:
        """Draw an operation's arguments: in this check's dtype the arrays to move, then the constants."""
        drawn = draw(generator)
        arrays = [np.asarray(value, self.dtype) for value in drawn if isinstance(value, np.ndarray)]
        if self.fresh and operation == "layer_norm":
            arrays[1][...] = 1
        if self.fresh and len(arrays) == 3:
            arrays[2][...] = 0
        return arrays, [value for value in drawn if not isinstance(value, np.ndarray)]


@cache
def _measured(
    check: NaiveCheck, operation: str, draw: Draw, seed: int
) -> tuple[list[np.ndarray], list[Any], np.ndarray, list[np.ndarray]]:
    """Inputs, constants, dy and numerical gradients of an operation; cached, since all of its faults use the same."""
    generator = np.random.default_rng(seed)
    inputs, constants = check.draw(operation, draw, generator)
    operate = getattr(ops, f"{operation}_forward")
    y, _ = operate(*inputs, *constants)
    dy = check.cotangent(y.shape, inputs[0], generator).astype(check.dtype)
    expected = []
    for place, array in enumerate(inputs):

        def forward(moved: np.ndarray, place: int = place) -> Any:
            return operate(*inputs[:place], moved, *inputs[place + 1 :], *constants)

        size = float(np.mean(np.abs(array))) or 1.0
        expected.append(numerical_gradient(forward, array, dy, check.h * size))
    return inputs, constants, dy, expected


def numerical_gradient(
    forward: Callable[[np.ndarray], tuple[np.ndarray, Any]], x: np.ndarray, dy: np.ndarray, h: float = 1e-5
) -> np.ndarray:
    """The gradient of sum(dy * y) with respect to x by central differences, for y, cache = forward(x), in x's dtype.

    x (...), dy (like y)  ->  dx (...)
    """
    dx = np.zeros_like(x)  # (...)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)  # (...)
        step[index] = h
        dx[index] = np.sum(dy * (forward(x + step)[0] - forward(x - step)[0])) / (2 * h)
    return dx


def relative_error(expected: Any, got: Any) -> float:
    """The largest |expected - got| / max(|expected|, |got|, floor), with floor = 1e-3 * max(1, largest expected)."""
    floor = SMALL * max(np.max(np.abs(expected)), 1.0)
    size = np.maximum(np.maximum(np.abs(expected), np.abs(got)), floor)
    return float(np.max(np.abs(expected - got) / size))


def _random(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=shape)


def _ones(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.ones(shape)


def _like_x(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """dy equal to x, as when both are drawn with the same seed; random where their shapes differ."""
    return np.array(x) if x.shape == shape else generator.normal(size=shape)


_plain = NaiveCheck("random dy", _random)
NAIVE_CHECKS = (
    _plain,
    replace(_plain, name="fresh parameters", fresh=True),
    replace(_plain, name="fresh, dy of ones", fresh=True, cotangent=_ones),
    replace(_plain, name="dy equal to x", cotangent=_like_x),
    replace(_plain, name="one index", one_index=True),
    replace(_plain, name="float32", dtype="float32", h=1e-2, tolerance=1e-2),
)


def share_caught(runs: int = 5) -> dict[str, dict[str, float]]:
    """Planted fault -> check -> the share of runs that caught it; each run draws other random numbers.

    A fault counts as caught only if the right backward passes the same check. The last check of each row is the
    package's own, run once. Only faults of `OPERATIONS` are tried.
    """
    table: dict[str, dict[str, float]] = {}
    for fault in PLANTED_FAULTS:
        if fault.operation in OPERATIONS:
            shares = {
                check.name: sum(check.catches(fault, seed) for seed in range(runs)) / runs for check in NAIVE_CHECKS
            }
            table[f"{fault.operation}: {fault.name}"] = shares | {"check_operation": float(not fault.check().passed)}
    return table
