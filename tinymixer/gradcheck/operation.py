"""The gradient check of an operation: a pair of plain functions, forward and backward."""

import copy
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import OPAQUE, frozen, is_array, is_differentiable, named_arrays, to_host
from tinymixer.gradcheck.gradients import Settings
from tinymixer.gradcheck.report import NotCheckableError, Report
from tinymixer.gradcheck.run import checked
from tinymixer.gradcheck.target import Target, checked_gradients, counted, parameters_of
from tinymixer.ops.array_library import namespace

GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)


class _Default(float):
    """A default value. Its class tells it from the same number given by a caller."""


class _DefaultInt(int):
    """The same for whole numbers."""


TOLERANCE, NONDETERMINISM = _Default(1e-6), _Default(1e-13)
LIMIT, SAMPLES, SEED = _DefaultInt(200), _DefaultInt(12), _DefaultInt(0)


def check_operation(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    name: str | None = None,
    differentiate: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
    jacobian_limit: int = LIMIT,
    samples: int = SAMPLES,
    seed: int = SEED,
    vary: bool | None = None,
    nondeterminism: float = NONDETERMINISM,
    **constants: Any,
) -> Report:
    """Check a pair `y, cache = forward(*inputs)` and `dx, ... = backward(dy, cache)`.

    inputs           as the forward takes them. Arrays of floats are differentiated by, after conversion to float64;
                     integer and boolean arrays (labels, masks) and anything else (a patch size, a rate, a dict of
                     statistics) are constants. Of a random number generator every call gets a copy as it was given
    differentiate    positions of the inputs to differentiate by, where not all of the float arrays are meant
    constants        further keywords of the forward; float arrays among them are constants too (soft targets). A
                     keyword that the forward itself names (`seed`, `name`) is the forward's, not the checker's
    name             what the report calls it; by default the forward's name without "_forward"
    tolerance        the largest relative error of a gradient that passes
    jacobian_limit   inputs of at most so many elements, with at most so many outputs, are checked element by element
    samples          how many elements are tried of a larger input, besides random directions through all of it
    seed             of the random cotangents and directions: the same seed gives the same report
    vary             whether other inputs are tried too: moved at random, larger, with zeros among them, in a batch of
                     one, with an odd size. None: where it is cheap
    nondeterminism   how far two calls with the same inputs may lie apart, relative to the size of the numbers: sums in
                     another order differ in the last bits. 0: not at all

    The backward returns one gradient, or a tuple with one for each differentiated input, in their order. A forward may
    return several outputs, `(y1, y2), cache`; the backward then receives `(dy1, dy2)`.

    Returns a Report; `check_operation(...).raise_if_failed()` makes a test of it. What the functions raise is in the
    report. Raises NotCheckableError, in a sentence, when there is nothing to differentiate by or the arguments cannot
    be used.

    >>> import numpy as np
    >>> from tinymixer.gradcheck import check_operation
    >>> report = check_operation(lambda x: (x * x, x), lambda dy, x: dy * x, np.array([1.0, 2.0]), name="square")
    >>> report.passed
    False
    >>> worst = report.failures[0]
    >>> worst.where, round(worst.expected, 6), worst.got
    ('y[0] by x[0]', 2.0, 1.0)
    """
    if not (callable(forward) and callable(backward)):
        raise NotCheckableError("expected a forward and a backward function, in this order, before the inputs")
    own: dict[str, Any] = {"name": name, "differentiate": differentiate, "tolerance": tolerance, "vary": vary}
    own |= {"jacobian_limit": jacobian_limit, "samples": samples, "seed": seed, "nondeterminism": nondeterminism}
    constants |= _keywords_of_the_forward(forward, own)
    name = own.pop("name") or getattr(forward, "__name__", "operation").removesuffix("_forward")
    given = (name, forward, backward, inputs, constants, own.pop("differentiate"))
    return checked(OperationTarget(*given), Settings(**own), lambda: OperationTarget(*given, "float32"))


class OperationTarget(Target):
    """An operation with its inputs: float arrays in the given dtype, everything else as it is."""

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        inputs: Sequence[Any],
        constants: Mapping[str, Any],
        differentiate: Sequence[int] | None = None,
        dtype: str = "float64",
    ) -> None:
        self.name = name
        self._given = (forward, backward, inputs, constants, differentiate, dtype)
        self._forward, self._backward, self._dtype = forward, backward, np.dtype(dtype)
        positions = _positions(name, inputs, differentiate)
        self._library = namespace(inputs[positions[0]])
        names = _names(forward, len(inputs))
        self._positions = {names[position]: position for position in positions}
        self.inputs = {names[p]: np.array(to_host(inputs[p]), dtype=dtype) for p in positions}
        self.passed = tuple(self.inputs)
        for key, host in self.inputs.items():
            if not host.size:
                message = f"{key} is empty, of shape {host.shape}: {name} needs at least one element there"
                raise NotCheckableError(message)
        # Frozen too: a forward has no more business writing into labels and masks than into x.
        self._arguments = [self._constant(value) for value in inputs]
        self._keywords = {key: self._constant(value) for key, value in constants.items()}
        self.constants = {
            path: array
            for key, value in [*zip(names, self._arguments, strict=True), *self._keywords.items()]
            if key not in self.inputs
            for path, array in named_arrays(value, key).items()
        }

    def _constant(self, value: Any) -> Any:
        """A constant input whose floats, however deep they lie, have the dtype of the inputs."""
        if is_array(value):
            host = to_host(value)
            return frozen(self.place(host) if is_differentiable(value) else self._library.asarray(np.array(host)))
        if isinstance(value, np.floating):
            return self._dtype.type(value)
        if isinstance(value, np.integer):
            return int(value)  # NumPy's whole numbers would turn float32 into float64
        return _rebuilt(value, self._constant)

    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        arguments = [_for_one_call(value, self.read_only) for value in self._arguments]
        keywords = {key: _for_one_call(value, self.read_only) for key, value in self._keywords.items()}
        for name, position in self._positions.items():
            arguments[position] = changed.get(name, arguments[position])
        return self._forward(*arguments, **keywords)

    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        return checked_gradients(self.name, self._backward(dy, cache), self.inputs)

    def resized(self, old: int, new: int) -> list[Target]:
        """Two ways: every axis of that size is cut, of constants too; or only the first axis of the first input.

        Constants of floats are cut along their first axis only: rows of probabilities would no longer sum to 1.
        Constants of whole numbers may be indices, and must not point beyond what is left.
        """
        forward, backward, inputs, constants, differentiate, dtype = self._given
        cut = _Cut(old, new)
        first = self._positions[self.passed[0]]
        names = _names(forward, len(inputs))
        every = [cut(value, name not in self.inputs) for name, value in zip(names, inputs, strict=True)]
        keywords = {key: cut(value, True) for key, value in constants.items()}
        alone = list(inputs)
        if inputs[first].shape[:1] == (old,):
            alone[first] = inputs[first][:new]
        inner = any(old in host.shape[1:] for host in self.inputs.values())
        ways = [(every, keywords)] if cut.fits and cut.indices_fit(inner) else []
        ways += [(alone, dict(constants))] if alone[first] is not inputs[first] else []
        return [OperationTarget(self.name, forward, backward, *way, differentiate, dtype) for way in ways]


class _Cut:
    """Cuts the axes of one size in arrays, however deep they lie; `fits` says whether all of them could be."""

    def __init__(self, old: int, new: int) -> None:
        self._old, self._new, self.fits = old, new, True
        self._indices: list[tuple[int, bool]] = []  # the largest of each constant, and whether that was cut itself

    def __call__(self, value: Any, constant: bool) -> Any:
        if not is_array(value):
            return _rebuilt(value, lambda item: self(item, constant))
        if constant and is_differentiable(value) and self._old in value.shape[1:]:
            self.fits = False
        part = value[tuple(slice(self._new) if size == self._old else slice(None) for size in value.shape)]
        if constant and np.dtype(value.dtype).kind in "iu" and to_host(part).size:
            self._indices.append((int(to_host(part).max()), part.shape != value.shape))
        return part

    def indices_fit(self, inner: bool) -> bool:
        """Whether no constant holds an index beyond what is left. `inner`: not only first axes were cut."""
        return all(index < self._new or (aligned and not inner) for index, aligned in self._indices)


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """A container with its items changed: dicts, lists, tuples and dataclasses; anything else as it is."""
    if isinstance(value, OPAQUE):
        return value
    fresh: Any
    if isinstance(value, dict):
        fresh = copy.copy(value)
        fresh.update({key: change(item) for key, item in value.items()})
        return fresh
    if isinstance(value, list | tuple):
        items = [change(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if dataclasses.is_dataclass(value):
        fresh = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(fresh, field.name, change(getattr(value, field.name)))
        return fresh
    return value


def _for_one_call(value: Any, shared: bool) -> Any:
    """A constant for one call. What the call may change, such as a generator, is a copy."""
    if is_array(value):
        return value if shared else value.copy()
    if isinstance(value, GENERATORS):
        return copy.deepcopy(value)
    return _rebuilt(value, lambda item: _for_one_call(item, shared))


def _keywords_of_the_forward(forward: Callable[..., Any], own: dict[str, Any]) -> dict[str, Any]:
    """Take out of `own`, the checker's arguments, those that were given and that the forward names too; return them.

    Raises NotCheckableError where the forward takes any keyword, so that it may be meant for either.
    """
    defaults = {"tolerance": TOLERANCE, "jacobian_limit": LIMIT, "samples": SAMPLES, "seed": SEED}
    defaults |= {"nondeterminism": NONDETERMINISM}
    given = [key for key, value in own.items() if value is not defaults.get(key)]
    parameters = parameters_of(forward)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unclear = [key for key in given if key not in named] if anything else []
    if unclear and unclear != ["name"]:
        raise NotCheckableError(
            f"{unclear[0]} is an argument of check_operation, and the forward takes any keyword, so it may be meant "
            f"for either: give the checker a forward that names its own, such as lambda x: forward(x, {unclear[0]}=...)"
        )
    taken = {key: own[key] for key in given if key in named}
    own |= {key: defaults.get(key) for key in taken}
    return taken


def _positions(name: str, inputs: Sequence[Any], differentiate: Sequence[int] | None) -> list[int]:
    """Which of the inputs are differentiated by."""
    if differentiate is None:
        positions = [position for position, value in enumerate(inputs) if is_differentiable(value)]
        if not positions:
            kinds = ", ".join(str(getattr(value, "dtype", type(value).__name__)) for value in inputs) or "nothing"
            raise NotCheckableError(
                f"{name} has no input to differentiate by: expected at least one array of floats, got {kinds}"
            )
        return positions
    for position in differentiate:
        if not 0 <= position < len(inputs) or not is_differentiable(inputs[position]):
            raise NotCheckableError(
                f"differentiate names input {position} of {name}, which is no array of floats "
                f"({counted(len(inputs), 'input')} given, counted from 0)"
            )
    if not differentiate:
        raise NotCheckableError(f"differentiate is empty: name at least one input of {name}")
    return list(differentiate)


def _names(forward: Callable[..., Any], count: int) -> list[str]:
    """The names of the forward's positional parameters; `input0`, `input1`, ... where it does not tell."""
    names = [p.name for p in parameters_of(forward) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] + [f"input{position}" for position in range(len(names), count)]
