"""What is being checked, in one form for operations, layers and models: named inputs, a forward and a backward."""

import inspect
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import PureWindowsPath
from types import MappingProxyType
from typing import Any

import numpy as np

from tinymixer.errors import TinymixerError
from tinymixer.gradcheck.arrays import FOREIGN, frozen, host_float64, is_array, place_of
from tinymixer.gradcheck.report import Row


class WrongGradientsError(TinymixerError):
    """The backward returned something that cannot be compared: too few gradients, or one of another shape.

    got   the shape of the gradient whose shape was wrong
    """

    def __init__(self, message: str, got: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.got = got


class CodeRaisedError(TinymixerError):
    """The forward or backward under test raised; the message says what and where, the cause is the exception."""

    def __init__(self, which: str, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({PureWindowsPath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        super().__init__(f"the {which} raised {type(error).__name__}: {error}{place}")
        self.error = error

    @property
    def wrote_into_read_only(self) -> bool:
        """Whether it raised because it wrote into an array that is only to be read."""
        return isinstance(self.error, ValueError) and "read-only" in str(self.error)


class Target(ABC):
    """Named inputs to differentiate by, and the pair of functions to differentiate.

    name        for the report
    inputs      host arrays by name, in order, all of one dtype; the first one's shape stands in the report
    passed      the names among them that are passed to the forward as arrays (a layer's parameters are not)
    parts       the shapes of the outputs where the forward returns several, ((y1, y2), cache); None for one output.
                Several are treated as one long vector
    read_only   whether arrays are passed read-only; a forward found to write into them gets ordinary ones from then on
    constants   the arrays that the forward is given besides the inputs, by name: labels, masks, tables
    only32      the forward computes in float32 whatever goes in, and its output says so
    backwards   how often the backward was called
    """

    name: str
    inputs: dict[str, np.ndarray]
    passed: tuple[str, ...]
    parts: list[tuple[int, ...]] | None = None
    _container: Callable[[list[Any]], Any] | None = None
    _library: Any
    _dtype: np.dtype
    _base: np.ndarray | None = None
    _mirrored: Mapping[str, np.ndarray] = MappingProxyType({})
    constants: Mapping[str, Any] = MappingProxyType({})
    read_only = True
    only32 = False
    backwards = 0

    def place(self, host: np.ndarray) -> Any:
        """A fresh copy of a host array, in the target's array library and dtype; complex numbers stay complex."""
        dtype = np.dtype("complex128") if host.dtype.kind == "c" else self._dtype
        return self._library.asarray(np.array(host, dtype=dtype))

    def kept(self) -> AbstractContextManager:
        """A context after which the code under test is as it was before."""
        return nullcontext()

    def own_rows(self, seed: int) -> list[Row]:
        """The checks that only this kind of target needs."""
        return []

    @abstractmethod
    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        """What the forward returns, with some inputs replaced: `passed` ones by placed arrays, others by host."""

    @abstractmethod
    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        """The gradient by each input. Raises WrongGradientsError when one is missing or has another shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        return next(iter(self.inputs.values())).shape

    def resized(self, old: int, new: int) -> "list[Target]":
        """Targets whose axes of size `old` are cut to `new`, one for each way that may make sense."""
        return []

    def other_forwards(self) -> list[Callable[[Mapping[str, Any]], Any]]:
        """The forward passes that may be run between a forward and its backward, one for each mode."""
        return [self.forward]

    def forward(self, changed: Mapping[str, Any]) -> tuple[Any, Any]:
        """Output and cache. Raises CodeRaisedError, and WrongGradientsError where it returns no such pair."""
        try:
            result = self.call_forward(changed)
        except FOREIGN as error:
            raise _told("forward", error) from error
        y, cache = self._checked_output(result)
        return y, cache

    def backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        """The gradient by each input. Raises CodeRaisedError and WrongGradientsError."""
        self.backwards += 1
        try:
            return self.call_backward(dy, cache)
        except FOREIGN as error:
            raise _told("backward", error) from error

    def placed(self) -> dict[str, Any]:
        """Fresh copies of the arrays to be passed, read-only where their library can do that."""
        fresh = {name: self.place(self.inputs[name]) for name in self.passed}
        return {name: frozen(array) for name, array in fresh.items()} if self.read_only else fresh

    @property
    def base(self) -> np.ndarray:
        """The output at the inputs, on the host in float64."""
        if self._base is None:
            self._base = self.host_output(self.forward(self.placed())[0])
        return self._base

    def output(self, moved: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output on the host in float64, with some inputs replaced by host arrays.

        It is NaN where the forward raises: a forward may refuse inputs outside its domain.
        """
        shape = self.base.shape
        if any(host.dtype.kind == "c" for host in moved.values()):  # then everything is: one dtype goes in
            moved = {**{name: self.inputs[name].astype(np.complex128) for name in self.passed}, **moved}
        arrays = {name: self.place(host) if name in self.passed else host for name, host in moved.items()}
        try:
            with np.errstate(all="ignore"):
                y = self.host_output(self.forward(arrays)[0])
        except (CodeRaisedError, WrongGradientsError):
            return np.full(shape, np.nan)
        return y if y.shape == shape else np.full(shape, np.nan)

    def mirrored(self, name: str) -> np.ndarray:
        """The output with the sign of one input changed."""
        if name not in self._mirrored:
            self._mirrored = {**self._mirrored, name: self.output({name: -self.inputs[name]})}
        return self._mirrored[name]

    def varies(self, name: str) -> bool:
        """Whether other values of an input may be tried."""
        return True

    def move_to(self, inputs: dict[str, np.ndarray]) -> None:
        """Go on with other values of the inputs."""
        self.inputs = inputs
        self._base, self._mirrored = None, {}

    def outputs(self, y: Any) -> dict[str, Any]:
        """The output arrays by name: y, or y1, y2, ..."""
        return {"y": y} if self.parts is None else {f"y{i}": array for i, array in enumerate(y, start=1)}

    def host_output(self, y: Any) -> np.ndarray:
        """The output on the host in float64; several as one vector."""
        if self.parts is None:
            return host_float64(y)
        return np.concatenate([host_float64(array).ravel() for array in y])

    def output_place(self, index: int) -> str:
        """How an element of the output is written."""
        if self.parts is None:
            return place_of("y", self.base.shape, index)
        for number, shape in enumerate(self.parts, start=1):
            if index < prod(shape):
                return place_of(f"y{number}", shape, index)
            index -= prod(shape)
        raise IndexError(index)

    def cotangent(self, host: np.ndarray, lay_out: Callable[[Any], Any] = lambda array: array) -> Any:
        """An output gradient as the backward takes it: placed, split where there are several outputs, laid out."""
        if self.parts is None:
            return lay_out(self.place(host))
        ends = np.cumsum([prod(shape) for shape in self.parts])[:-1]
        arrays = [piece.reshape(shape) for piece, shape in zip(np.split(host, ends), self.parts, strict=True)]
        return (self._container or tuple)([lay_out(self.place(array)) for array in arrays])

    def gradients(self, dy: np.ndarray, cache: Any) -> dict[str, np.ndarray]:
        """The gradients on the host in float64, of the cotangent dy on the host."""
        return {name: host_float64(gradient) for name, gradient in self.backward(self.cotangent(dy), cache).items()}

    def answers(
        self, inputs: Mapping[str, np.ndarray], dy: np.ndarray, lay_out: Callable[[Any], Any] = lambda array: array
    ) -> dict[str, Any]:
        """Outputs and gradients as they come, for other values of the inputs."""
        y, cache = self.forward({name: lay_out(self.place(host)) for name, host in inputs.items()})
        return {**self.outputs(y), **self.backward(self.cotangent(dy, lay_out), cache)}

    def row(self, check: str, error: float, **details: Any) -> Row:
        """A row of the report about this target."""
        return Row(self.name, self.shape, check, float(error), **details)

    def _checked_output(self, result: object) -> tuple[Any, Any]:
        """Take a forward's result apart, or say that it is no pair of an output and a cache."""
        if not isinstance(result, tuple) or len(result) != 2:
            raise WrongGradientsError(
                f"the forward of {self.name} must return a pair (output, cache), got {described(result)}"
            )
        y, cache = result
        several = isinstance(y, tuple | list)
        if several and y and all(_is_output(array) for array in y):
            self.parts = [np.shape(array) for array in y]
            kind = type(y)
            self._container = (lambda arrays: kind(*arrays)) if hasattr(kind, "_fields") else kind
        elif several or not _is_output(y):
            raise WrongGradientsError(
                f"the output of {self.name} must be one array, or a tuple of arrays, got {described(y)}"
            )
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
        if not _is_output(gradient):
            raise WrongGradientsError(f"the gradient of {input_name} must be an array, got {described(gradient)}")
        if np.shape(gradient) != array.shape:
            raise WrongGradientsError(
                f"the gradient of {input_name} has shape {np.shape(gradient)}, expected {array.shape}",
                np.shape(gradient),
            )
    return dict(zip(wanted, gradients, strict=True))


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function; none where it does not tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def counted(count: int, noun: str) -> str:
    """1 gradient, 2 gradients."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def generator_for(seed: int, purpose: str) -> np.random.Generator:
    """A generator of the checker's own, whose numbers differ from those of default_rng(seed).

    A caller may draw x from default_rng(0). With the same numbers in the cotangent, dy = x, the weight gradient x^T dy
    is symmetric, and a swapped transpose passes.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode())))


def random_cotangent(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A random output gradient. Never all ones: those hide every mistake that sums to zero."""
    return np.asarray(generator.standard_normal(shape))


def _is_output(value: object) -> bool:
    return is_array(value) or (isinstance(value, np.generic | int | float) and not isinstance(value, bool))


def _told(which: str, error: BaseException) -> BaseException:
    return error if isinstance(error, WrongGradientsError) else CodeRaisedError(which, error)


def described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
