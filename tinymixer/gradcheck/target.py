"""What is being checked, in one form for operations, layers and models: named inputs, a forward and a backward."""

import inspect
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from tinymixer.errors import TinymixerError
from tinymixer.gradcheck.arrays import FOREIGN, Layout, Named, frozen, hosts, is_array, largest, place_of
from tinymixer.gradcheck.report import NotCheckableError, Row

ROUNDING, ROUNDING_32, TOLERANCE_32 = 1e-8, 1e-4, 1e-3  # with 32 for a forward that computes in float32
Answer = tuple[dict[str, Any], Any]


@dataclass(frozen=True)
class Settings:
    """How thorough a check is; `check_operation` says what each means."""

    tolerance: float = 1e-6
    jacobian_limit: int = 200
    samples: int = 12
    seed: int = 0
    vary: bool | None = None
    nondeterminism: float = 1e-13


class CodeUnderTestError(TinymixerError):
    """The forward or backward under test did something after which there is nothing to compare."""


class WrongGradientsError(CodeUnderTestError):
    """It returned something that cannot be compared: too few gradients, or one of another shape.

    got   the shape of the gradient whose shape was wrong
    """

    def __init__(self, message: str, got: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.got = got


class CodeRaisedError(CodeUnderTestError):
    """It raised; the message says what and where, the cause is the exception."""

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
    shape       for the report: that of the first input
    inputs      host arrays by name, in order. Raises NotCheckableError for one without elements
    passed      the names among them that are passed to the forward as arrays (a layer's parameters are not)
    outputs     the shape of each output by name: y, or y1, y2, ... where the forward returns ((y1, y2), cache). Known
                after the first forward. Differences and cotangents take all outputs as one flat vector
    modes       the modes that the forward has, such as training and not; `mode`, the one it is in, is the first
    read_only   whether arrays are passed read-only; a forward found to write into them gets ordinary ones from then on
    only32      the forward computes in float32 whatever goes in, and its output says so
    backwards   how often the backward was called
    """

    modes: tuple[bool, ...] = (False,)
    mode = False
    read_only = True
    only32 = False
    backwards = 0

    def __init__(self, name: str, inputs: Named, library: Any, dtype: str) -> None:
        for key, host in inputs.items():
            if not host.size:
                raise NotCheckableError(
                    f"{key} is empty, of shape {host.shape}: {name} needs at least one element there"
                )
        self.name, self.shape = name, next(iter(inputs.values())).shape
        self.inputs, self.passed = inputs, tuple(inputs)
        self._library, self._dtype = library, np.dtype(dtype)
        self.outputs: dict[str, tuple[int, ...]] = {}
        self._packed: Callable[[list[Any]], Any] = list
        self._known: Named = {}  # outputs at the inputs, and with the sign of one of them changed

    # What operations and layers do differently.

    @abstractmethod
    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        """What the forward returns, with some inputs replaced: `passed` ones by placed arrays, others by host."""

    @abstractmethod
    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        """The gradient by each input. Raises WrongGradientsError when one is missing or has another shape."""

    def holding(self, values: Mapping[str, Any]) -> AbstractContextManager:
        """A context in which inputs that are not passed, such as a layer's parameters, have other values."""
        return nullcontext()

    @abstractmethod
    def resized(self, old: int, new: int) -> "list[Target]":
        """Targets whose axes of size `old` are cut to `new`, one for each way that may make sense."""

    @property
    def constants(self) -> dict[str, Any]:
        """The arrays that the forward is given besides the inputs, by name: labels, masks, tables."""
        return {}

    def put_back(self) -> AbstractContextManager:
        """A context after which the code under test is as it was before."""
        return nullcontext()

    def varies(self, name: str) -> bool:
        """Whether other values of an input may be tried."""
        return True

    def own_rows(self, settings: Settings) -> Iterator[Row]:
        """The checks that only this kind of target needs."""
        return iter(())

    # Forward and backward.

    def forward(self, changed: Mapping[str, Any]) -> tuple[Any, Any]:
        """Output and cache. Raises CodeRaisedError, and WrongGradientsError where it returns no such pair."""
        result = _called("forward", self.call_forward, changed)
        if not isinstance(result, tuple) or len(result) != 2:
            kind = _described(result)
            raise WrongGradientsError(f"the forward of {self.name} must return a pair (output, cache), got {kind}")
        y, cache = result
        arrays = named_outputs(y)
        if not arrays or not all(map(_is_output, arrays.values())):
            kind = _described(y)
            raise WrongGradientsError(f"the output of {self.name} must be one array, or a tuple of arrays, got {kind}")
        pack: Any = type(y)
        if not isinstance(y, tuple | list):
            self._packed = lambda arrays: arrays[0]
        else:
            self._packed = (lambda arrays: pack(*arrays)) if hasattr(pack, "_fields") else pack
        self.outputs = {name: np.shape(array) for name, array in arrays.items()}
        return y, cache

    def backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        """The gradient by each input, dx by x. Raises CodeRaisedError and WrongGradientsError."""
        self.backwards += 1
        gradients = _called("backward", self.call_backward, dy, cache)
        return {f"d{name}": gradient for name, gradient in gradients.items()}

    def place(self, host: np.ndarray) -> Any:
        """A fresh copy of a host array, in the target's array library and dtype; complex numbers stay complex."""
        dtype = np.dtype("complex128") if host.dtype.kind == "c" else self._dtype
        return self._library.asarray(np.array(host, dtype=dtype))

    def placed(self) -> dict[str, Any]:
        """Fresh copies of the arrays to be passed, read-only where their library can do that."""
        fresh = {name: self.place(self.inputs[name]) for name in self.passed}
        return {name: frozen(array) for name, array in fresh.items()} if self.read_only else fresh

    def split(self, flat: np.ndarray) -> Named:
        """A flat vector of outputs as the named arrays that it consists of."""
        parts = np.split(flat, np.cumsum([prod(shape) for shape in self.outputs.values()])[:-1])
        return {name: part.reshape(self.outputs[name]) for name, part in zip(self.outputs, parts, strict=True)}

    def cotangent(self, dy: np.ndarray, lay_out: Layout | None = None) -> Any:
        """A flat output gradient as the backward takes it: split into outputs, placed, laid out in memory."""
        return self._packed(
            [lay_out(self.place(part)) if lay_out else self.place(part) for part in self.split(dy).values()]
        )

    def answers(self, dy: np.ndarray, lay_out: Layout | None = None, lay_out_dy: Layout | None = None) -> Answer:
        """The outputs and gradients as they come, by name, and the cache. Arrays are laid out in memory as asked."""
        placed = {name: lay_out(self.place(self.inputs[name])) for name in self.passed} if lay_out else self.placed()
        y, cache = self.forward(placed)
        return named_outputs(y) | self.backward(self.cotangent(dy, lay_out_dy or lay_out), cache), cache

    # The output as a function of the inputs.

    @contextmanager
    def at(self, inputs: Named) -> Iterator[None]:
        """A context in which some inputs have other values: every call is made there."""
        before = self.inputs, self._known
        self.inputs, self._known = self.inputs | inputs, {}
        try:
            with self.holding(inputs):
                yield
        finally:
            self.inputs, self._known = before

    @property
    def base(self) -> np.ndarray:
        """The outputs at the inputs, flat, on the host in float64."""
        if "" not in self._known:
            self._known[""] = flat_outputs(self.forward(self.placed())[0])
        return self._known[""]

    def mirrored(self, name: str) -> np.ndarray:
        """The outputs with the sign of one input changed."""
        if name not in self._known:
            self._known[name] = self.output({name: -self.inputs[name]})
        return self._known[name]

    def output(self, moved: Named) -> np.ndarray:
        """The outputs, flat, on the host in float64, with some inputs replaced by host arrays.

        They are NaN where the forward raises: a forward may refuse inputs outside its domain.
        """
        nowhere = np.full(self.base.shape, np.nan)
        if any(host.dtype.kind == "c" for host in moved.values()):  # then everything is: one dtype goes in
            moved = {**{name: self.inputs[name].astype(np.complex128) for name in self.passed}, **moved}
        arrays = {name: self.place(host) if name in self.passed else host for name, host in moved.items()}
        try:
            with np.errstate(all="ignore"):
                y = flat_outputs(self.forward(arrays)[0])
        except CodeUnderTestError:
            return nowhere
        return y if y.shape == nowhere.shape else nowhere

    def output_place(self, index: int) -> str:
        """How an element of the flat outputs is written."""
        for name, shape in self.outputs.items():
            if index < prod(shape):
                return place_of(name, shape, index)
            index -= prod(shape)
        raise IndexError(index)

    def row(self, check: str, error: float, **details: Any) -> Row:
        """A row of the report about this target."""
        return Row(self.name, self.shape, check, float(error), **details)

    def holds(self, check: str, culprits: list[str], note: str) -> Row:
        """The row of a check that either holds or does not: it fails where there are culprits."""
        if not culprits:
            return self.row(check, 0.0)
        return self.row(check, 1.0, where=culprits[0].split(" (")[0], note=f"{note} {', '.join(culprits)}")


def named_outputs(y: Any) -> dict[str, Any]:
    """The output arrays by name: y, or y1, y2, ..."""
    return {f"y{i}": array for i, array in enumerate(y, start=1)} if isinstance(y, tuple | list) else {"y": y}


def flat_outputs(y: Any) -> np.ndarray:
    """All outputs as one vector on the host in float64."""
    return np.concatenate([array.ravel() for array in hosts(named_outputs(y)).values()])


def _called(which: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns. What it raises is blamed on the forward or the backward under test."""
    try:
        return function(*arguments)
    except CodeUnderTestError:
        raise
    except FOREIGN as error:
        raise CodeRaisedError(which, error) from error


class Trial:
    """A target that was asked with one random cotangent, and its answer.

    purpose     separates the random numbers of one trial from those of another
    dy          (outputs,): the cotangent. Never all ones: those hide every mistake that sums to zero
    first       the outputs and the gradients on the host, y and dx by name
    cache       of the forward that gave them
    sizes       of these outputs and gradients, as they would be without cancellation
    tolerance   of gradients: differences of a forward that computes in float32 have three digits
    rounding    how far two orders of summation may lie apart, relative to those sizes
    """

    def __init__(self, target: Target, settings: Settings, purpose: str) -> None:
        self.target, self.settings = target, settings
        self.generator = generator_for(settings.seed, purpose)
        self.dy = self.generator.standard_normal(target.base.size)
        answers, self.cache = target.answers(self.dy)
        self.first = hosts(answers)
        self.tolerance = max(settings.tolerance, TOLERANCE_32) if target.only32 else settings.tolerance
        self.rounding = ROUNDING_32 if target.only32 else ROUNDING
        self.sizes = natural_sizes(target, self.dy, self.first, largest(target.base))

    def gradients(self, dy: np.ndarray) -> Named:
        """The gradients of another cotangent, from the same cache."""
        return hosts(self.target.backward(self.target.cotangent(dy), self.cache))


def natural_sizes(target: Target, dy: np.ndarray, answers: Named, output: float) -> dict[str, float]:
    """The size of each output and gradient: its largest element, or that without cancellation if larger.

    output   the size of an output without cancellation; that of a gradient is |dy| |output| / |x|
    """
    natural = dict.fromkeys(target.outputs, output)
    natural |= {f"d{name}": largest(dy) * output / (largest(x) or np.inf) for name, x in target.inputs.items()}
    return {name: max(largest(array), natural[name]) for name, array in answers.items()}


def checked_gradients(name: str, result: object, wanted: Named) -> dict[str, Any]:
    """Name a backward's results after the inputs, or say what does not fit."""
    gradients = result if isinstance(result, tuple | list) else (result,)
    if len(gradients) != len(wanted):
        raise WrongGradientsError(
            f"the backward of {name} returned {counted(len(gradients), 'gradient')}, expected {len(wanted)}, "
            f"one for each of {', '.join(wanted)}"
        )
    for (key, array), gradient in zip(wanted.items(), gradients, strict=True):
        if not _is_output(gradient):
            raise WrongGradientsError(f"the gradient of {key} must be an array, got {_described(gradient)}")
        if np.shape(gradient) != array.shape:
            got = np.shape(gradient)
            raise WrongGradientsError(f"the gradient of {key} has shape {got}, expected {array.shape}", got)
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


def moved(host: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """An input moved at random by up to half its size; one that is all zeros by up to a half."""
    size = float(np.sqrt(np.mean(host * host))) or 1.0
    return host + size * generator.uniform(-0.5, 0.5, host.shape)


def _is_output(value: object) -> bool:
    return is_array(value) or (isinstance(value, np.generic | int | float) and not isinstance(value, bool))


def _described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
