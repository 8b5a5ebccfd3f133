"""The gradient check of an operation: a pair of plain functions, forward and backward."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    GENERATORS,
    OPAQUE,
    frozen,
    is_array,
    is_differentiable,
    named_arrays,
    to_host,
)
from tinymixer.gradcheck.report import NotCheckableError, Report
from tinymixer.gradcheck.run import checked
from tinymixer.gradcheck.target import Settings, Target, checked_gradients, counted, parameters_of
from tinymixer.ops.array_library import namespace


def check_operation(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    name: str | None = None,
    differentiate: Sequence[int] | None = None,
    tolerance: float | None = None,
    jacobian_limit: int | None = None,
    samples: int | None = None,
    seed: int | None = None,
    vary: bool | None = None,
    nondeterminism: float | None = None,
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
    tolerance        the largest relative error of a gradient that passes (1e-6)
    jacobian_limit   inputs of at most so many elements, with at most so many outputs, are checked element by element
                     (200)
    samples          how many elements are tried of a larger input, besides random directions through all of it (12)
    seed             of the random cotangents and directions (0): the same seed gives the same report
    vary             whether other inputs are tried too: moved at random, larger, with zeros among them, in a batch of
                     one, with an odd size. None: where it is cheap
    nondeterminism   how far two calls with the same inputs may lie apart, relative to the size of the numbers (1e-13):
                     sums in another order differ in the last bits. 0: not at all

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
    own: dict[str, Any] = {
        "name": name,
        "differentiate": differentiate,
        "tolerance": tolerance,
        "jacobian_limit": jacobian_limit,
    }
    own |= {"samples": samples, "seed": seed, "vary": vary, "nondeterminism": nondeterminism}
    own = {key: value for key, value in own.items() if value is not None}
    constants |= _keywords_of_the_forward(forward, own)
    name = str(own.pop("name", getattr(forward, "__name__", "operation").removesuffix("_forward")))
    given = (name, forward, backward, inputs, constants, own.pop("differentiate", None))
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
        positions = _positions(name, inputs, differentiate)
        known = [p.name for p in parameters_of(forward) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        # Arguments have names here, the forward's own where it tells them, and go to it in their order.
        names = known[: len(inputs)] + [f"input{i}" for i in range(len(known), len(inputs))]
        floats = {names[p]: np.array(to_host(inputs[p]), dtype=dtype) for p in positions}
        super().__init__(name, floats, namespace(inputs[positions[0]]), dtype)
        self._forward, self._backward, self._names = forward, backward, names
        given = {key: value for key, value in zip(names, inputs, strict=True) if key not in floats}
        # Frozen too: a forward has no more business writing into labels and masks than into x.
        self._positional = {key: self._converted(value) for key, value in given.items()}
        self._keywords = {key: self._converted(value) for key, value in constants.items()}

    @property
    def constants(self) -> dict[str, Any]:
        given = [*self._positional.items(), *self._keywords.items()]
        return {path: array for key, value in given for path, array in named_arrays(value, key).items()}

    def _converted(self, value: Any) -> Any:
        """An argument whose floats, however deep they lie, have the dtype of the inputs."""
        if is_array(value):
            host = to_host(value)
            return frozen(self.place(host) if is_differentiable(value) else self._library.asarray(np.array(host)))
        if isinstance(value, np.floating):
            return self._dtype.type(value)
        if isinstance(value, np.integer):
            return int(value)  # NumPy's whole numbers would turn float32 into float64
        return _rebuilt(value, self._converted)

    def _for_one_call(self, value: Any) -> Any:
        """An argument for one call. What the call may change, such as a generator, is a copy."""
        if is_array(value):
            return value if self.read_only else value.copy()
        return copy.deepcopy(value) if isinstance(value, GENERATORS) else _rebuilt(value, self._for_one_call)

    def call_forward(self, changed: Mapping[str, Any]) -> Any:
        floats = {name: changed[name] if name in changed else self.place(self.inputs[name]) for name in self.inputs}
        known = floats | {name: self._for_one_call(value) for name, value in self._positional.items()}
        keywords = {name: self._for_one_call(value) for name, value in self._keywords.items()}
        return self._forward(*[known[name] for name in self._names], **keywords)

    def call_backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        return checked_gradients(self.name, self._backward(dy, cache), self.inputs)

    def resized(self, old: int, new: int) -> list[Target]:
        """Two ways: every axis of that size is cut, of constants too; or only the first axis of the first input."""
        every, alone = copy.copy(self), copy.copy(self)
        every.inputs = {name: _cut(host, old, new) for name, host in self.inputs.items()}
        inner = any(old in host.shape[1:] for host in self.inputs.values())
        every._positional, every._keywords = _cut((self._positional, self._keywords), old, new)
        pairs = zip(self.constants.values(), every.constants.values(), strict=True)
        fits = all(_fits(whole, part, old, new, inner) for whole, part in pairs)
        alone.inputs = {**self.inputs, self.passed[0]: self.inputs[self.passed[0]][:new]}
        ways: list[Target] = []
        for way, possible in ((every, fits), (alone, self.shape[:1] == (old,))):
            way._known = {}
            ways += [way] * possible
        return ways


def _cut(value: Any, old: int, new: int) -> Any:
    """A value whose arrays, however deep they lie, have all axes of one size cut."""
    if is_array(value):
        return frozen(value[(..., *(slice(new if size == old else None) for size in value.shape))])
    return _rebuilt(value, lambda item: _cut(item, old, new))


def _fits(whole: Any, part: Any, old: int, new: int, inner: bool) -> bool:
    """Whether a constant may be cut so: rows of probabilities must sum to 1, and indices lie within what is left.

    inner   not only first axes of inputs were cut
    """
    if is_differentiable(whole):
        return old not in whole.shape[1:]
    aligned = part.shape != whole.shape and not inner
    return aligned or np.dtype(part.dtype).kind not in "iu" or not to_host(part).size or to_host(part).max() < new


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """A container with its items changed: dicts, lists, tuples and dataclasses; anything else as it is."""
    if isinstance(value, list | tuple):
        items = [change(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    fresh: Any = value
    if isinstance(value, dict):
        fresh = copy.copy(value)
        fresh.update({key: change(item) for key, item in value.items()})
    elif dataclasses.is_dataclass(value) and not isinstance(value, OPAQUE):
        fresh = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(fresh, field.name, change(getattr(value, field.name)))
    return fresh


def _keywords_of_the_forward(forward: Callable[..., Any], own: dict[str, Any]) -> dict[str, Any]:
    """Take out of `own`, the checker's arguments that were given, those that the forward names too; return them.

    Raises NotCheckableError where the forward takes any keyword, so that it may be meant for either.
    """
    parameters = parameters_of(forward)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    unclear = [key for key in own if key not in named]
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and unclear not in ([], ["name"]):
        raise NotCheckableError(
            f"{unclear[0]} is an argument of check_operation, and the forward takes any keyword, so it may be meant "
            f"for either: give the checker a forward that names its own, such as lambda x: forward(x, {unclear[0]}=...)"
        )
    return {key: own.pop(key) for key in [*own] if key in named}


def _positions(name: str, inputs: Sequence[Any], differentiate: Sequence[int] | None) -> list[int]:
    """Which of the inputs are differentiated by."""
    floats = [position for position, value in enumerate(inputs) if is_differentiable(value)]
    chosen = floats if differentiate is None else list(differentiate)
    for position in chosen:
        if position not in floats:
            raise NotCheckableError(
                f"differentiate names input {position} of {name}, which is no array of floats "
                f"({counted(len(inputs), 'input')} given, counted from 0)"
            )
    if not chosen:
        kinds = ", ".join(str(getattr(value, "dtype", type(value).__name__)) for value in inputs) or "nothing"
        got = kinds if differentiate is None else "an empty `differentiate`"
        raise NotCheckableError(
            f"{name} has no input to differentiate by: expected at least one array of floats, got {got}"
        )
    return chosen
