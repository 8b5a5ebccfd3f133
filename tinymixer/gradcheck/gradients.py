"""A backward pass beside numerical derivatives: every element where that is cheap, samples where it is not."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import largest, place_of
from tinymixer.gradcheck.comparison import Numerical, Places, comparison_row
from tinymixer.gradcheck.differences import Function, complex_step, derivative, one_sided
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.sampling import Sampled, sampled_directions, sampled_elements
from tinymixer.gradcheck.scale import along, element_sizes, output_size, rounding_noise, unit_step
from tinymixer.gradcheck.subject import Subject, random_cotangent, stream

KINKS_LOOKED_AT = 50  # elements that disagree and may lie on a kink, at most
COMPLEX_TOLERANCE = 1e-2  # of the tolerance of differences: the complex step is exact to rounding
COMPLEX_SHARE = 0.1  # of the differences' uncertainty: what these two allow is never blamed on the gradient
NOT_ANALYTIC = (
    "not analytic here, as far as can be told: the forward takes no complex numbers, loses their imaginary part "
    "(abs, a cast), or the differences are too uncertain to confirm the answer"
)


@dataclass(frozen=True)
class Settings:
    """How thorough a check is.

    tolerance       largest relative error of a gradient that passes
    jacobian_limit  an input of at most so many elements, with at most so many outputs, has its whole Jacobian compared
    samples         elements (and half as many directions) tried of an input that is larger
    seed            of the random cotangents and directions
    """

    tolerance: float = 1e-6
    jacobian_limit: int = 200
    samples: int = 12
    seed: int = 0


def gradient_rows(subject: Subject, settings: Settings) -> list[Row]:
    """Compare the gradient by every input with central differences and, where it can be had, the complex step."""
    generator = stream(settings.seed, "gradients")
    finite = _finite_row(subject, subject.output({}))
    if not finite.passed:
        return [finite]
    y, cache = subject.forward(subject.placed())
    cotangent = random_cotangent(np.shape(y), generator)  # (outputs)
    analytic = subject.gradients(cotangent, cache)
    small = [name for name, host in subject.inputs.items() if max(host.size, cotangent.size) <= settings.jacobian_limit]
    jacobians = _claimed_jacobians(subject, cache, cotangent.shape, small)
    rows = [finite]
    for name in subject.inputs:
        noise = rounding_noise(subject, name, generator)  # (outputs)
        if name in small:
            rows += _every_element(subject, name, jacobians[name], analytic[name], cotangent, noise, settings)
        else:
            sample = Sampled(subject, name, analytic[name], cotangent, noise, settings.samples, generator)
            rows += _some_elements(sample, settings)
    return rows


def _every_element(
    subject: Subject,
    name: str,
    claimed: np.ndarray,
    analytic: np.ndarray,
    cotangent: np.ndarray,
    noise: np.ndarray,
    settings: Settings,
) -> list[Row]:
    """The whole Jacobian (outputs, inputs) of one input, and the gradient of a random cotangent."""
    host = subject.inputs[name]
    sizes = element_sizes(host)
    columns = [_raveled(along(subject, name, unit_step(host, j))) for j in range(host.size)]
    found = [derivative(column, size, noise.ravel()) for column, size in zip(columns, sizes, strict=True)]
    natural = output_size(subject, name, np.ones(cotangent.shape)) / float(np.max(sizes))
    numerical = Numerical(_side_by_side(found, 0, cotangent.size), _side_by_side(found, 1, cotangent.size), natural)
    accept_kinks(numerical, claimed, columns, sizes, settings.tolerance)
    weights = cotangent.ravel()  # (outputs,)
    of_cotangent = Numerical(
        weights @ numerical.values, abs(weights) @ numerical.uncertainty, natural * largest(weights)
    )  # (inputs,)
    pairs, elements = Places(name, host.shape, outputs=cotangent.shape), Places(name, host.shape)
    exact = [complex_step(column, size) for column, size in zip(columns, sizes, strict=True)]
    return [
        comparison_row(subject, "jacobian", numerical, claimed, settings.tolerance, pairs),
        comparison_row(subject, "random cotangent", of_cotangent, analytic.ravel(), settings.tolerance, elements),
        _complex_row(subject, exact, numerical, claimed, pairs, settings.tolerance),
    ]


def _some_elements(sample: Sampled, settings: Settings) -> list[Row]:
    """Single elements of a large input, by differences and by the complex step, and random directions through it."""
    subject = sample.subject
    elements, got, places, functions, sizes = sampled_elements(sample)
    accept_kinks(elements, got[None], functions, sizes, settings.tolerance)
    exact = [complex_step(function, size) for function, size in zip(functions, sizes, strict=True)]
    directions, along_them, names = sampled_directions(sample)
    return [
        comparison_row(subject, "elements", elements, got, settings.tolerance, places),
        _complex_row(subject, exact, elements, got, places, settings.tolerance),
        comparison_row(subject, "directions", directions, along_them, settings.tolerance, names),
    ]


def _complex_row(
    subject: Subject,
    exact: list[np.ndarray | None],
    numerical: Numerical,
    got: np.ndarray,
    places: Places,
    tolerance: float,
) -> Row:
    """Compare with the complex step, if the differences confirm it: an abs or a cast makes it silently wrong."""
    check, tolerance = "complex step", COMPLEX_TOLERANCE * tolerance
    columns = [column for column in exact if column is not None]
    if len(columns) == len(exact):
        values = np.array(columns).T.reshape(got.shape)
        oracle = Numerical(values, numerical.uncertainty * COMPLEX_SHARE, numerical.natural)
        # Confirmed more closely than is then asked of the gradient.
        near = oracle.relative_error(numerical.values, 0.5 * tolerance) <= 0.25 * tolerance
        if np.isfinite(values).all() and near.all() and oracle.settled(tolerance).all():
            return comparison_row(subject, check, oracle, got, tolerance, places)
    return subject.row(check, 0.0, where=places.input_name, note=NOT_ANALYTIC, applied=False)


def accept_kinks(
    numerical: Numerical, got: np.ndarray, functions: list[Function], sizes: Any, tolerance: float
) -> None:
    """At a kink any number between the left and the right slope is a gradient: take the backward's choice there.

    numerical.values and got are (outputs, inputs), or (inputs,) and (1, inputs) for a scalar function.
    """
    wrong = numerical.relative_error(got.reshape(numerical.values.shape), tolerance) > tolerance
    doubtful = np.atleast_2d(wrong | ~numerical.settled(tolerance))
    values, uncertainty = np.atleast_2d(numerical.values), np.atleast_2d(numerical.uncertainty)  # views
    for column in np.flatnonzero(doubtful.any(axis=0))[:KINKS_LOOKED_AT]:
        low, high, kink = (np.ravel(part) for part in one_sided(functions[column], sizes[column]))
        slack = 1e-6 * np.maximum(abs(low), abs(high))
        chosen = got[:, column]
        accepted = kink & (low - slack <= chosen) & (chosen <= high + slack)
        values[accepted, column] = chosen[accepted]
        uncertainty[accepted, column] = 0.0


def _claimed_jacobians(subject: Subject, cache: Any, shape: tuple[int, ...], names: list[str]) -> dict[str, np.ndarray]:
    """The Jacobians (outputs, inputs) that the backward pass claims: one call for each output."""
    outputs = int(np.prod(shape))
    jacobians = {name: np.zeros((outputs, subject.inputs[name].size)) for name in names}
    for i in range(outputs if names else 0):
        one_hot = np.zeros(shape)
        one_hot.flat[i] = 1.0
        gradients = subject.gradients(one_hot, cache)
        for name in names:
            jacobians[name][i] = gradients[name].ravel()
    return jacobians


def _side_by_side(found: list[tuple[np.ndarray, np.ndarray]], which: int, outputs: int) -> np.ndarray:
    """Columns to a matrix (outputs, inputs); where nothing was finite a column is a single number."""
    return np.array([np.broadcast_to(pair[which], outputs) for pair in found]).T.copy()


def _raveled(function: Function) -> Function:
    return lambda t: function(t).ravel()


def _finite_row(subject: Subject, y: np.ndarray) -> Row:
    """Whether all outputs are finite numbers; without that no derivative means anything."""
    wrong = np.flatnonzero(~np.isfinite(y))
    if not wrong.size:
        return subject.row("finite output", 0.0)
    first = float(y.flat[wrong[0]])
    where = place_of("y", y.shape, int(wrong[0]))
    return subject.row("finite output", float("nan"), where=where, got=first, note=f"the forward gives {first} there")
