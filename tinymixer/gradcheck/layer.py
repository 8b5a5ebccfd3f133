"""The gradient check of a layer: the gradient by its input and by each of its parameters."""

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinymixer.draws import Draws
from tinymixer.gradcheck.arrays import host_float64, identical, is_differentiable, largest, place_of, to_host
from tinymixer.gradcheck.conduct import conduct_rows
from tinymixer.gradcheck.gradients import Settings, gradient_rows
from tinymixer.gradcheck.precision import precision_rows
from tinymixer.gradcheck.report import NotCheckableError, Report, Row
from tinymixer.gradcheck.subject import (
    Subject,
    WrongGradientsError,
    checked_gradients,
    checked_output,
    random_cotangent,
    stream,
)
from tinymixer.gradcheck.views import ParameterViews
from tinymixer.layers.layer import Layer
from tinymixer.models.model import Model
from tinymixer.ops.array_library import namespace


def check_layer(
    layer: Any,
    x: Any,
    train: bool = False,
    *,
    name: str | None = None,
    float32_twin: Any = None,
    perturb: bool = True,
    tolerance: float = 1e-6,
    jacobian_limit: int = 200,
    samples: int = 12,
    seed: int = 0,
) -> Report:
    """Check a layer's gradients by its input x and by each of its parameters, and that they are added, not assigned.

    layer          anything with `y, cache = forward(x)` and `dx = backward(dy, cache)`. The forward is given `train`
                   and `rng` (the same random numbers each time: `Draws` for a `Layer` of this package, a NumPy
                   generator for any other) if it has parameters of those names.
                   Its `parameters` may be a tinymixer Parameters, or a dict name -> array beside a dict
                   `gradients` with the same names and shapes, or be missing
    x              float64 array
    train          passed to the forward: with True, dropout and stochastic depth are checked with fixed masks
    float32_twin   the same layer built in float32, if it is to be compared with this one
    perturb        move every parameter at random for the time of the check, by up to half its size: first values
                   such as a scale of 1 or a bias of 0 hide mistakes

    The other arguments are those of `check_operation`. Parameters, gradients and buffers are left as they
    were, bit for bit: no forward or backward pass may write into buffers.

    Returns a Report. Raises NotCheckableError when the layer or x is not in float64, or has no forward or backward.
    """
    started = time.perf_counter()
    subject = LayerSubject(layer, x, train, name or type(layer).__name__, seed)
    with subject.views.kept():
        if perturb:
            subject.perturb(stream(seed, "perturbation"))
        try:
            conduct = conduct_rows(subject, seed) + layer_conduct_rows(subject, seed)
            rows = gradient_rows(subject, Settings(tolerance, jacobian_limit, samples, seed)) + conduct
            if float32_twin is not None:
                narrow = LayerSubject(float32_twin, x, train, subject.name, seed, dtype="float32")
                with narrow.views.kept():
                    rows += precision_rows(subject, narrow, seed)
        except WrongGradientsError as error:
            rows = [subject.row("gradients", float("nan"), note=str(error))]
    return Report(rows, time.perf_counter() - started)


class LayerSubject(Subject):
    """A layer at an input, as a function of x and of every parameter."""

    def __init__(self, layer: Any, x: Any, train: bool, name: str, seed: int, dtype: str = "float64") -> None:
        self.name = name
        self._layer, self._train, self._seed, self._dtype = layer, train, seed, np.dtype(dtype)
        for method in ("forward", "backward"):
            if not callable(getattr(layer, method, None)):
                raise NotCheckableError(
                    f"{name} has no method {method}: a layer needs forward(x) and backward(dy, cache)"
                )
        if not is_differentiable(x):
            raise NotCheckableError(f"x must be an array of floats to check {name}, got {_kind(x)}")
        if dtype == "float64" and np.dtype(x.dtype) != np.float64:
            raise NotCheckableError(f"x is {x.dtype}: gradient checks need float64, so pass x.astype('float64')")
        if 0 in x.shape:
            raise NotCheckableError(f"x is empty, of shape {tuple(x.shape)}: {name} needs at least one element")
        self._library = namespace(x)
        self._keywords = _accepted(layer.forward, ("train", "rng"))
        self.views = ParameterViews(layer, name)
        wrong = self.views.of_another_dtype(dtype)
        if wrong:
            raise NotCheckableError(
                f"{wrong[0]} of {name} is {wrong[1]}: gradient checks need {dtype}, so build the layer in it, "
                f"such as {type(layer).__name__}(..., dtype='{dtype}')"
            )
        self._x = np.array(to_host(x), dtype=dtype)
        self.inputs = {"x": self._x, **self.views.hosts()}
        self.passed = ("x",)

    def perturb(self, generator: np.random.Generator) -> None:
        """Move every parameter at random, by up to half its tensor's size; one that is all zeros by up to a half."""
        for key, host in self.views.hosts().items():
            size = float(np.sqrt(np.mean(host * host))) if host.any() else 1.0
            self.inputs[key] = host + size * generator.uniform(-0.5, 0.5, host.shape)
            self.views.write(key, self.inputs[key])

    def place(self, host: np.ndarray) -> Any:
        dtype = np.dtype("complex128") if host.dtype.kind == "c" else self._dtype
        return self._library.asarray(np.array(host, dtype=dtype))

    def forward(self, changed: Mapping[str, Any]) -> tuple[Any, Any]:
        x = changed["x"] if "x" in changed else self.place(self._x)
        with self.views.replaced({name: value for name, value in changed.items() if name not in self.passed}):
            return self.raw_forward(x)

    def raw_forward(self, x: Any) -> tuple[Any, Any]:
        """The layer's own forward, with the masks of this check."""
        given = {"train": self._train, "rng": self._random_numbers(x)}
        return checked_output(self.name, self._layer.forward(x, **{key: given[key] for key in self._keywords}))

    def _random_numbers(self, x: Any) -> Any:
        """The `Draws` that layers of this package ask for; a NumPy generator for anybody else's."""
        if not isinstance(self._layer, Layer):
            return np.random.default_rng(self._seed)
        images = 0 if isinstance(self._layer, Model) else max(x.ndim - 2, 0)  # the axis: tokens come first
        return Draws(self._seed, 0, 0, np.arange(x.shape[images]))

    def raw_backward(self, dy: Any, cache: Any) -> Any:
        """The layer's own backward, which adds to the gradients and returns dx."""
        return self._layer.backward(dy, cache)

    def backward(self, dy: Any, cache: Any) -> dict[str, Any]:
        self.views.zero_gradients()
        dx = self.raw_backward(dy, cache)
        by_input = checked_gradients(self.name, dx, {"x": self._x}) if self.passed else {}
        return {**by_input, **self.views.gradients()}

    def answers(self, inputs: Mapping[str, np.ndarray], dy: np.ndarray) -> dict[str, np.ndarray]:
        with self.views.replaced({name: host for name, host in inputs.items() if name not in self.passed}):
            return super().answers({name: inputs[name] for name in self.passed}, dy)


def layer_conduct_rows(subject: LayerSubject, seed: int) -> list[Row]:
    """What only layers can do wrong: assign gradients, write into values, leave something in the padding."""
    generator = stream(seed, "layer conduct")
    views = subject.views
    before = views.memory() | views.first_buffers  # as they were before any forward pass: no later one need move them
    y, cache = subject.forward({})
    dy = random_cotangent(np.shape(y), generator)
    once = subject.gradients(dy, cache)
    subject.raw_backward(subject.place(dy), cache)  # without zeroing: adds the same once more
    rows = [_added_row(subject, once)]
    changed = [name for name, old in before.items() if not identical(old, views.memory()[name])]
    note = f"forward or backward writes into {', '.join(changed)}" if changed else ""
    rows.append(subject.row("values untouched", float(bool(changed)), where=changed[0] if changed else "", note=note))
    if views.has_padding:
        dirty = views.dirty_padding()
        note = f"{dirty} of the elements between the parameters are no longer 0" if dirty else ""
        rows.append(subject.row("padding untouched", float(bool(dirty)), note=note))
    views.zero_gradients()
    return rows


def _added_row(subject: LayerSubject, once: Mapping[str, np.ndarray]) -> Row:
    """After two backward passes the gradients are twice those of one."""
    check, tolerance = "gradients added", 1e-12
    worst = subject.row(check, 0.0, tolerance=tolerance)
    for name, gradient in subject.views.gradients().items():
        expected, got = 2 * once[name], host_float64(gradient)
        apart = np.where(np.isfinite(got), abs(got - expected), np.inf)
        if not apart.size or not apart.max():
            continue
        index = int(np.argmax(apart))
        error = float(apart.flat[index]) / max(largest(expected), largest(got), 1e-300)
        if error > worst.error:
            note = "a second backward must add to the gradients of the first, not replace them"
            worst = subject.row(
                check,
                error,
                tolerance=tolerance,
                where=place_of(f"d{name}", expected.shape, index),
                expected=float(expected.flat[index]),
                got=float(got.flat[index]),
                note=note if error > tolerance else "",
            )
    return worst


def _accepted(function: Callable[..., Any], names: tuple[str, ...]) -> list[str]:
    """Which of the keywords a function takes."""
    parameters = inspect.signature(function).parameters
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return [name for name in names if anything or name in parameters]


def _kind(value: Any) -> str:
    return f"one of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
