"""What is being checked, in one form for operations, layers and models: named inputs, a forward and a backward."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinymixer.errors import TinymixerError
from tinymixer.gradcheck.arrays import frozen, host_float64, is_array, to_host
from tinymixer.gradcheck.report import Row


class WrongGradientsError(TinymixerError):
    """The backward returned something that cannot be compared: too few gradients, or one of another shape."""


class Subject(ABC):
    """Named inputs to differentiate by, and the pair of functions to differentiate.

    name     for the report
    inputs   host arrays by name, in order, all of one dtype; the first one's shape stands in the report
    passed   the names among them that are passed to the forward as arrays (a layer's parameters are not)
    read_only   whether arrays are passed read-only; a forward found to write into them gets ordinary ones from then on
    """

    name: str
    inputs: dict[str, np.ndarray]
    passed: tuple[str, ...]
    read_only = True

    @abstractmethod
    def place(self, host: np.ndarray) -> Any:
        """A fresh copy of a host array in the array library of the subject."""

    @abstractmethod
    def forward(self, changed: Mapping[str, Any]) -> tuple[Any, Any]:
        """Output and cache, with some inputs replaced: `passed` ones by the subject's arrays, others by host arrays."""

    @abstractmethod
    def backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        """The gradient by each input. Raises WrongGradientsError when one is missing or has another shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        return next(iter(self.inputs.values())).shape

    def placed(self) -> dict[str, Any]:
        """Fresh copies of the arrays to be passed, read-only where their library can do that."""
        fresh = {name: self.place(self.inputs[name]) for name in self.passed}
        return {name: frozen(array) for name, array in fresh.items()} if self.read_only else fresh

    def output(self, changed: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output on the host in float64, with some inputs replaced by host arrays."""
        if any(host.dtype.kind == "c" for host in changed.values()):  # then everything is: one dtype goes in
            changed = {**{name: self.inputs[name].astype(np.complex128) for name in self.passed}, **changed}
        arrays = {name: self.place(host) if name in self.passed else host for name, host in changed.items()}
        return host_float64(self.forward(arrays)[0])

    def gradients(self, dy: np.ndarray, cache: Any) -> dict[str, np.ndarray]:
        """The gradients on the host in float64, of the cotangent dy on the host."""
        return {name: host_float64(gradient) for name, gradient in self.backward(self.place(dy), cache).items()}

    def answers(self, inputs: Mapping[str, np.ndarray], dy: np.ndarray) -> dict[str, np.ndarray]:
        """Output "y" and gradients, on the host in the dtypes they have, for other values of the inputs."""
        y, cache = self.forward({name: self.place(host) for name, host in inputs.items()})
        return {
            "y": to_host(y),
            **{n: to_host(gradient) for n, gradient in self.backward(self.place(dy), cache).items()},
        }

    def row(self, check: str, error: float, **details: Any) -> Row:
        """A row of the report about this subject."""
        return Row(self.name, self.shape, check, float(error), **details)


def checked_output(name: str, result: object) -> tuple[Any, Any]:
    """Take a forward's result apart, or say that it is no pair of an output and a cache."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise WrongGradientsError(f"the forward of {name} must return a pair (output, cache), got {_described(result)}")
    y, cache = result
    if not is_array(y) and not isinstance(y, np.generic | float):
        raise WrongGradientsError(f"the output of {name} must be one array, got {_described(y)}")
    return y, cache


def checked_gradients(name: str, result: object, wanted: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Name a backward's results after the inputs, or say what does not fit."""
    gradients = result if isinstance(result, tuple | list) else (result,)
    if len(gradients) != len(wanted):
        raise WrongGradientsError(
            f"the backward of {name} returned {counted(len(gradients), 'gradient')}, expected {len(wanted)}, "
            f"one for each of {', '.join(wanted)}"
        )
    for (input_name, array), gradient in zip(wanted.items(), gradients, strict=True):
        if not is_array(gradient) and not isinstance(gradient, np.generic | float):
            raise WrongGradientsError(f"the gradient of {input_name} must be an array, got {_described(gradient)}")
        if np.shape(gradient) != array.shape:
            raise WrongGradientsError(
                f"the gradient of {input_name} has shape {np.shape(gradient)}, expected {array.shape}"
            )
    return dict(zip(wanted, gradients, strict=True))


def counted(count: int, noun: str) -> str:
    """1 gradient, 2 gradients."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The checker's own random numbers, apart from those of default_rng(seed).

    Whoever draws x from default_rng(0) would otherwise be given the very same numbers as the cotangent, and with dy = x
    the weight gradient x^T dy is symmetric: a swapped transpose passes.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode())))


def random_cotangent(subject_shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A random output gradient. Never all ones: those hide every mistake that sums to zero."""
    return np.asarray(generator.standard_normal(subject_shape))


def _described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
