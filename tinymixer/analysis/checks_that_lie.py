"""Gradient checks with one flaw each, and how often they catch the planted faults: the experiment of lesson 03.

Every check compares a backward pass with central differences, element by element. `NAIVE_CHECKS` differ from the first
of them, which has no flaw that they share, in one thing each: what they choose for dy, for the dtype, for the elements
looked at, or for the values of the parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import PLANTED_FAULTS, PlantedFault
from tinymixer.gradcheck.planted_faults.registry import Draw

SMALL = 1e-3  # elements below this part of the largest one (or of 1) are measured against that part
OPERATIONS = ("linear", "layer_norm", "gelu_tanh", "gelu_erf")


@dataclass(frozen=True)
class NaiveCheck:
    """A gradient check by central differences.

    name        what is special about it
    cotangent   makes dy from the output's shape, the first input and a random generator
    dtype, h    what the differences are computed in, and their step as a part of the input's mean size
    tolerance   largest relative error that passes; it must let right gradients through
    one_index   look at one random element of each input instead of all
    fresh       parameters as a new layer has them: scales 1, biases 0
    """

    name: str
    cotangent: Callable[[tuple[int, ...], np.ndarray, np.random.Generator], np.ndarray]
    dtype: str = "float64"
    h: float = 1e-5
    tolerance: float = 1e-6
    one_index: bool = False
    fresh: bool = False

    def passes(self, fault: PlantedFault, seed: int, right: bool = False) -> bool:
        """Whether the check lets a planted fault (or the right backward in its place) through."""
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
        """Whether the check tells the planted fault from the right backward."""
        return self.passes(fault, seed, right=True) and not self.passes(fault, seed)

    def draw(self, operation: str, draw: Draw, generator: np.random.Generator) -> tuple[list[np.ndarray], list[Any]]:
        """The arrays to differentiate by, in this check's dtype, and the constants that follow them."""
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
    """Inputs, constants, dy and the numerical gradients, which all faults of an operation share."""
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
    """The gradient of sum(dy * y) by x in central differences, for y, cache = forward(x). In x's own dtype.

    x (...), dy (like y)  ->  dx (...)
    """
    dx = np.zeros_like(x)  # (...)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)  # (...)
        step[index] = h
        dx[index] = np.sum(dy * (forward(x + step)[0] - forward(x - step)[0])) / (2 * h)
    return dx


def relative_error(expected: Any, got: Any) -> float:
    """|expected - got| / max(|expected|, |got|, floor) where it is worst; floor = 1e-3 * max(1, largest expected)."""
    floor = SMALL * max(np.max(np.abs(expected)), 1.0)
    size = np.maximum(np.maximum(np.abs(expected), np.abs(got)), floor)
    return float(np.max(np.abs(expected - got) / size))


def _random(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=shape)


def _ones(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.ones(shape)


def _like_x(shape: tuple[int, ...], x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What comes out of a second generator of the same seed: x again, where the shapes are alike."""
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
    """Planted fault -> check -> the share of runs in which it was caught, each run with random numbers of its own.

    Only where the right backward passes is a wrong one caught by being refused. The last check of each row is the
    package's, in one run. Faults of `OPERATIONS` only.
    """
    table: dict[str, dict[str, float]] = {}
    for fault in PLANTED_FAULTS:
        if fault.operation in OPERATIONS:
            shares = {
                check.name: sum(check.catches(fault, seed) for seed in range(runs)) / runs for check in NAIVE_CHECKS
            }
            table[f"{fault.operation}: {fault.name}"] = shares | {"check_operation": float(not fault.check().passed)}
    return table
