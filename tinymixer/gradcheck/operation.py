"""The gradient check of an operation: a pair of plain functions, forward and backward."""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import frozen, is_array, is_differentiable, to_host
from tinymixer.gradcheck.conduct import conduct_rows
from tinymixer.gradcheck.gradients import Settings, gradient_rows
from tinymixer.gradcheck.precision import precision_rows
from tinymixer.gradcheck.report import NotCheckableError, Report
from tinymixer.gradcheck.subject import Subject, WrongGradientsError, checked_gradients, checked_output, counted
from tinymixer.ops.array_library import namespace


def check_operation(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    name: str | None = None,
    differentiate: Sequence[int] | None = None,
    tolerance: float = 1e-6,
    jacobian_limit: int = 200,
    samples: int = 12,
    seed: int = 0,
    **constants: Any,
) -> Report:
    """Check a pair `y, cache = forward(*inputs)` and `dx, ... = backward(dy, cache)`.

    inputs           as the forward takes them. Arrays of floats are differentiated by, after conversion to float64;
                     integer and boolean arrays (labels, masks) and anything else (a patch size, a rate) are constants
    differentiate    positions of the inputs to differentiate by, where not all of the float arrays are meant
    constants        further keywords of the forward; float arrays among them are constants too (soft targets)
    name             what the report calls it; by default the forward's name without "_forward"
    tolerance        the largest relative error of a gradient that passes
    jacobian_limit   inputs of at most so many elements, with at most so many outputs, are checked element by element
    samples          how many elements are tried of a larger input, besides random directions through all of it
    seed             of the random cotangents and directions: the same seed gives the same report

    The backward returns one gradient, or a tuple with one for each differentiated input, in their order.

    Returns a Report; `check_operation(...).raise_if_failed()` makes a test of it. Raises NotCheckableError, in a
    sentence, when there is nothing to differentiate by or the arguments cannot be used.

    >>> import numpy as np
    >>> from tinymixer.gradcheck import check_operation
    >>> report = check_operation(lambda x: (x * x, x), lambda dy, x: dy * x, np.array([1.0, 2.0]), name="square")
    >>> report.passed
    False
    >>> worst = report.failures[0]
    >>> worst.where, round(worst.expected, 6), worst.got
    ('y[0] by x[0]', 2.0, 1.0)
    """
    started = time.perf_counter()
    name = name or getattr(forward, "__name__", "operation").removesuffix("_forward")
    if not (callable(forward) and callable(backward)):
        raise NotCheckableError("expected a forward and a backward function, in this order, before the inputs")
    settings = Settings(tolerance, jacobian_limit, samples, seed)
    subject = OperationSubject(name, forward, backward, inputs, constants, differentiate)
    try:
        conduct = conduct_rows(subject, seed)  # first: it finds out whether the forward writes into its inputs
        rows = gradient_rows(subject, settings) + conduct
        narrow = OperationSubject(name, forward, backward, inputs, constants, differentiate, dtype="float32")
        narrow.read_only = subject.read_only
        rows += precision_rows(subject, narrow, seed)
    except WrongGradientsError as error:
        rows = [subject.row("gradients", float("nan"), note=str(error))]
    return Report(rows, time.perf_counter() - started)


class OperationSubject(Subject):
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
        self._forward, self._backward, self._dtype = forward, backward, np.dtype(dtype)
        positions = _positions(name, inputs, differentiate)
        self._library = namespace(inputs[positions[0]])
        names = _names(forward, len(inputs))
        self._positions = {names[position]: position for position in positions}
        self.inputs = {names[p]: np.array(to_host(inputs[p]), dtype=dtype) for p in positions}
        self.passed = tuple(self.inputs)
        for key, host in self.inputs.items():
            if not host.size:
                raise NotCheckableError(
                    f"{key} is empty, of shape {host.shape}: {name} needs at least one element there"
                )
        # Frozen too: a forward has no more business writing into labels and masks than into x.
        self._arguments = [self.constant(value) for value in inputs]
        self._constants = {key: self.constant(value) for key, value in constants.items()}

    def constant(self, value: Any) -> Any:
        """A constant input: float arrays follow the dtype of the others, so that one dtype goes in."""
        if not is_array(value):
            return value
        host = to_host(value)
        return frozen(self.place(host) if is_differentiable(value) else self._library.asarray(np.array(host)))

    def place(self, host: np.ndarray) -> Any:
        dtype = np.dtype("complex128") if host.dtype.kind == "c" else self._dtype
        return self._library.asarray(np.array(host, dtype=dtype))

    def forward(self, changed: Mapping[str, Any]) -> tuple[Any, Any]:
        arguments, constants = list(self._arguments), self._constants
        if not self.read_only:
            arguments = [value.copy() if is_array(value) else value for value in arguments]
            constants = {key: value.copy() if is_array(value) else value for key, value in constants.items()}
        for name, position in self._positions.items():
            arguments[position] = changed[name] if name in changed else arguments[position]
        return checked_output(self.name, self._forward(*arguments, **constants))

    def backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        return checked_gradients(self.name, self._backward(dy, cache), self.inputs)


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
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return names[:count] + [f"input{position}" for position in range(len(names), count)]
