"""A backward pass beside numerical derivatives: every element where that is cheap, samples where it is not."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import largest, place_of
from tinymixer.gradcheck.differences import (
    DRAWS,
    LAST_BIT,
    Numerical,
    Path,
    comparison_row,
    complex_step,
    derivative,
    element_path,
    element_sizes,
    output_size,
    own_sizes,
    rounding_noise,
    slopes_around,
)
from tinymixer.gradcheck.report import Coverage, Row
from tinymixer.gradcheck.target import Target, generator_for, random_cotangent

COMPLEX_TOLERANCE = 1e-2  # of the tolerance of differences: the complex step is exact to rounding
COMPLEX_SHARE = 0.1  # of the differences' uncertainty is allowed to the complex step
TOLERANCE_32 = 1e-3  # for a forward that computes in float32: its differences have three digits
LOOKED_AT = 4  # the search for kinks at points nearby ends after so many paths without one
Own = tuple[np.ndarray, np.ndarray]
NOT_ANALYTIC = (
    "not analytic here, as far as can be told: the forward takes no complex numbers, loses their imaginary part "
    "(abs, a cast), or the differences are too uncertain to confirm the answer"
)


@dataclass(frozen=True)
class Settings:
    """How thorough a check is; `check_operation` says what each means."""

    tolerance: float = 1e-6
    jacobian_limit: int = 200
    samples: int = 12
    seed: int = 0
    vary: bool | None = None
    nondeterminism: float = 1e-13


class Gradients:
    """The backward's gradients of one random cotangent, and what is needed to ask for others.

    cotangent   (outputs): the output gradient
    analytic    the gradient by every input, of sum(cotangent * output)
    """

    def __init__(self, target: Target, settings: Settings, purpose: str = "gradients") -> None:
        self.target, self.settings = target, settings
        self.generator = generator_for(settings.seed, purpose)
        self.cotangent = random_cotangent(target.base.shape, self.generator)
        _, self.cache = target.forward(target.placed())
        self.analytic = target.gradients(self.cotangent, self.cache)
        self.tolerance = max(settings.tolerance, TOLERANCE_32) if target.only32 else settings.tolerance

    @property
    def weights(self) -> np.ndarray:
        """The cotangent, flat."""
        return self.cotangent.ravel()

    def other(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients of another cotangent, given flat."""
        return self.target.gradients(weights.reshape(self.cotangent.shape), self.cache)

    def jacobians(self, names: list[str]) -> dict[str, np.ndarray]:
        """The Jacobians (outputs, inputs) that the backward pass claims: one call for each output."""
        outputs = self.cotangent.size
        claimed = {name: np.zeros((outputs, self.target.inputs[name].size)) for name in names}
        for i in range(outputs if names else 0):
            gradients = self.other(np.eye(1, outputs, i)[0])
            for name in names:
                claimed[name][i] = gradients[name].ravel()
        return claimed


def gradient_rows(target: Target, settings: Settings) -> tuple[list[Row], list[Coverage]]:
    """Compare the gradient by every input with central differences and, where it can be had, the complex step.

    Returns the rows, and for each input how much of it was looked at.
    """
    finite = _finite_row(target)
    if not finite.passed:
        return [finite], []
    gradients = Gradients(target, settings)
    limit = settings.jacobian_limit
    small = [name for name, host in target.inputs.items() if max(host.size, gradients.cotangent.size) <= limit]
    claimed = gradients.jacobians(small)
    rows, looked_at = [finite], []
    for name, host in target.inputs.items():
        noise, measured = rounding_noise(target, name, gradients.generator)  # (outputs,)
        if name in small:
            found, elements, directions = _every_element(gradients, name, claimed[name], noise, measured)
        else:
            found, elements, directions = _some_elements(gradients, name, noise, measured)
        rows += found
        looked_at.append(Coverage(name, host.shape, elements, directions, name not in target.passed))
    return rows, looked_at


def _every_element(
    gradients: Gradients, name: str, claimed: np.ndarray, noise: np.ndarray, measured: np.ndarray
) -> tuple[list[Row], int, int]:
    """The whole Jacobian (outputs, inputs) of one input, and the gradient of a random cotangent."""
    target, tolerance = gradients.target, gradients.tolerance
    host, weights = target.inputs[name], gradients.weights
    sizes = element_sizes(host)
    natural = output_size(target, name) / float(np.max(sizes))
    paths = [element_path(target, name, k, size) for k, size in enumerate(sizes)]
    numerical = _differentiated(paths, noise, natural, tolerance, (own_sizes(host).ravel(), measured))
    kinks = _accept_kinks(gradients, numerical, claimed, paths, noise)
    of_cotangent = Numerical(
        weights @ numerical.values,
        np.linalg.norm(weights[:, None] * numerical.uncertainty, axis=0),
        natural * largest(weights),
    )  # (inputs,)

    def pair(index: int) -> str:
        row, column = divmod(index, host.size)
        return f"{target.output_place(row)} by {place_of(name, host.shape, column)}"

    def element(index: int) -> str:
        return place_of(name, host.shape, index)

    rows = [
        comparison_row(target, "jacobian", numerical, claimed, tolerance, pair),
        comparison_row(target, "random cotangent", of_cotangent, gradients.analytic[name].ravel(), tolerance, element),
        _complex_row(gradients, paths, numerical, claimed, pair),
    ]
    if not kinks:
        return rows, host.size, 0  # every direction is a sum of what was compared already
    paths = [Path(target, {name: step}) for step in _directions(host, 6, gradients.generator)]
    numerical = _differentiated(paths, noise, output_size(target, name), tolerance)
    along = claimed @ np.array([path.steps[name].ravel() for path in paths]).T  # (outputs, directions)
    _accept_kinks(gradients, numerical, along, paths, noise)

    def direction(index: int) -> str:
        row, column = divmod(index, len(paths))
        return f"{target.output_place(row)} by {name}, direction {column + 1}"

    rows.append(comparison_row(target, "directions", numerical, along, tolerance, direction))
    return rows, host.size, len(paths)


def _some_elements(
    gradients: Gradients, name: str, noise: np.ndarray, measured: np.ndarray
) -> tuple[list[Row], int, int]:
    """Single elements of a large input, by differences and by the complex step, and random directions through it."""
    target, host, samples = gradients.target, gradients.target.inputs[name], gradients.settings.samples
    chosen = _corners_and_others(host.shape, samples, gradients.generator)
    sizes = element_sizes(host)[chosen]
    paths = [element_path(target, name, k, size) for k, size in zip(chosen, sizes, strict=True)]
    own = own_sizes(host).ravel()[chosen], measured

    def element(index: int) -> str:
        return place_of(name, host.shape, chosen[index % len(chosen)])

    rows = _contracted_rows(gradients, paths, noise, "elements", element, output_size(target, name), own)
    along = [Path(target, {name: step}) for step in _directions(host, max(samples // 2, 1), gradients.generator)]

    def direction(index: int) -> str:
        return f"{name}, direction {index % len(along) + 1}"

    rows += _contracted_rows(gradients, along, noise, "directions", direction, output_size(target, name))
    return rows, len(chosen), len(along)


def joint_row(
    target: Target, settings: Settings, purpose: str = "joint directions", count: int = 0, only: int | None = None
) -> Row:
    """Compare along random directions through all inputs at once: each sums over every gradient.

    only   the index of the one direction to use
    """
    gradients = Gradients(target, settings, purpose)
    generator = gradients.generator
    count = count or max(settings.samples // 2, 1)
    each = {name: _directions(host, count, generator) for name, host in target.inputs.items()}
    paths = [Path(target, {name: steps[i] for name, steps in each.items()}) for i in range(count)]
    paths = paths if only is None else [paths[only]]
    moved = target.passed or tuple(target.inputs)
    sizes = {name: output_size(target, name) for name in moved}
    cancelled = max(min(size, largest(target.inputs[name])) for name, size in sizes.items())
    noise = LAST_BIT * np.maximum(cancelled, np.full(target.base.size, largest(target.base)))
    for path in paths[:2]:
        apart = abs(path(2.0**-40) - 2 * path(0.0) + path(-(2.0**-40)))
        noise = np.maximum(noise, np.where(np.isfinite(apart), apart, 0.0))

    def direction(index: int) -> str:
        return f"all inputs, direction {(only or 0) + index % len(paths) + 1}"

    return _contracted_rows(gradients, paths, noise, "directions", direction, max(sizes.values()))[0]


def _contracted_rows(
    gradients: Gradients,
    paths: list[Path],
    noise: np.ndarray,
    check: str,
    place: Any,
    size: float,
    own: Own | None = None,
) -> list[Row]:
    """Compare derivatives of sum(cotangent * output) along some paths, by differences and by the complex step.

    Where a path fails, the outputs that have a kink on it, or no certain difference, are left out of the sum, and the
    backward gives the gradient of the others. The outputs with a kink are then compared alone: any value between their
    slopes is right.
    """
    target, tolerance, weights = gradients.target, gradients.tolerance, gradients.weights
    magnitude = max(path.magnitude for path in paths)
    natural = size / magnitude
    each = _differentiated(paths, noise, natural, tolerance, own)  # (outputs, paths)
    got = np.array([_along(gradients.analytic, path) for path in paths])
    numerical = _summed(each, weights, natural, [_terms(gradients.analytic, path) for path in paths])
    seen = each.settled(tolerance)  # (outputs, paths)
    wrong = (numerical.relative_error(got, tolerance) > tolerance) | ~numerical.settled(tolerance)
    wrong |= ~np.isfinite(got)
    if not wrong.any():
        complex_row = _complex_row(gradients, paths, numerical, got, place, weights)
        return [comparison_row(target, check, numerical, got, tolerance, place), complex_row]
    extra: list[tuple[float, float, float]] = []  # value, uncertainty, got: of the kinks
    in_vain = 0
    for k in np.flatnonzero(wrong):
        slopes = slopes_around(paths[k], noise, gradients.generator, DRAWS if in_vain < LOOKED_AT else 0)
        if not (slopes.kink.any() or (~seen[:, k]).any()):
            in_vain += 1
            continue
        certain = seen[:, k] & ~slopes.kink
        never = ~(seen.any(axis=1) | slopes.kink)  # along no path was there a slope: the forward has none here
        smooth = np.where(certain, weights, 0.0)
        claimed = gradients.other(smooth)
        if never.any():
            numerical.values[k], numerical.uncertainty[k] = np.nan, np.inf
        else:
            got[k] = _along(claimed, paths[k], spare=bool((~seen[:, k] & ~slopes.kink).any()))
            part = Numerical(np.where(certain[:, None], each.values, 0.0)[:, [k]], each.uncertainty[:, [k]], natural)
            sums = _summed(part, smooth, natural, [_terms(claimed, paths[k])])
            numerical.values[k], numerical.uncertainty[k] = sums.values[0], sums.uncertainty[0]
            numerical.floor[k] = np.asarray(sums.floor)[0]  # type: ignore[index]
        if slopes.kink.any():
            bent = np.where(slopes.kink, abs(weights), 0.0)
            claim = _along(gradients.other(bent), paths[k])
            low, high = (float(bent @ np.where(slopes.kink, s, 0.0)) for s in (slopes.low, slopes.high))
            slack = 1e-4 * max(abs(low), abs(high))
            nearest = claim if low - slack <= claim <= high + slack else float(np.clip(claim, low, high))
            extra.append((nearest, 0.0, claim))
    if extra:
        values, uncertainty, claims = np.array(extra).T
        floor = np.concatenate([np.broadcast_to(numerical.floor, got.shape), np.zeros(len(extra))])
        all_values = np.concatenate([numerical.values, values])
        numerical = Numerical(all_values, np.concatenate([numerical.uncertainty, uncertainty]), natural, floor)
        got = np.concatenate([got, claims])
    return [comparison_row(target, check, numerical, got, tolerance, place), _not_analytic(target, place)]


def _differentiated(
    paths: list[Path], noise: np.ndarray, natural: float, tolerance: float, own: Own | None = None
) -> Numerical:
    """The derivative of every output along every path (outputs, paths).

    own   for each path the size of the element that moves, and the noise measured. The steps start from that size where
          the mean size of the array is too large for the element (the square root of 1e-12 beside 1)
    """
    values = np.zeros((noise.size, len(paths)))
    uncertainty = np.zeros(values.shape)
    for k, path in enumerate(paths):
        value, error = (np.broadcast_to(part, noise.size) for part in derivative(path, path.magnitude, noise))
        unsettled = not Numerical(value, error, natural).settled(tolerance).all()
        if own is not None and own[0][k] < path.magnitude and unsettled:
            finer, its_error = derivative(path, own[0][k], own[1])
            value, error = np.where(its_error < error, finer, value), np.minimum(its_error, error)
        values[:, k], uncertainty[:, k] = value, error
    return Numerical(values, uncertainty, natural)


def _accept_kinks(
    gradients: Gradients, numerical: Numerical, claimed: np.ndarray, paths: list[Path], noise: np.ndarray
) -> bool:
    """Take the backward's answer at kinks, where any number between the slopes around is a gradient.

    numerical.values and claimed are (outputs, paths). Returns whether there was such a place.
    """
    tolerance, generator = gradients.tolerance, gradients.generator
    doubtful = (numerical.relative_error(claimed, tolerance) > tolerance) | ~numerical.settled(tolerance)
    accepted = np.zeros(doubtful.shape, dtype=bool)
    in_vain = 0
    for k in np.flatnonzero(doubtful.any(axis=0)):
        for draws in (0, DRAWS):
            if draws and in_vain > LOOKED_AT:
                break
            accepted[:, k] = doubtful[:, k] & slopes_around(paths[k], noise, generator, draws).accepts(claimed[:, k])
            if not (doubtful[:, k] & ~accepted[:, k]).any():
                break
        else:
            in_vain += 1
    numerical.values[accepted] = claimed[accepted]
    numerical.uncertainty[accepted] = 0.0
    return bool(accepted.any())


def _summed(each: Numerical, weights: np.ndarray, natural: float, terms: list[np.ndarray]) -> Numerical:
    """Weighted sums over the outputs. The errors of the outputs are taken to be independent of each other.

    terms   the terms of the backward's sum. Their norm is the size such a sum usually has, and errors are measured
            against it: a sum may be nearly 0 by chance
    """
    with np.errstate(all="ignore"):
        values = weights @ np.where(weights[:, None] == 0, 0.0, each.values)
        uncertainty = np.linalg.norm(np.where(weights[:, None] == 0, 0.0, weights[:, None] * each.uncertainty), axis=0)
    norms = np.array([np.linalg.norm(part) if part.size > 1 else 0.0 for part in terms])
    floor = np.where(np.isfinite(norms), norms, 0.0)
    return Numerical(values, uncertainty, natural * float(np.linalg.norm(weights)), floor)


def _terms(gradients: dict[str, np.ndarray], path: Path) -> np.ndarray:
    parts = [(gradients[name] * step)[step != 0] for name, step in path.steps.items()]
    return np.concatenate(parts) if parts else np.zeros(0)


def _along(gradients: dict[str, np.ndarray], path: Path, spare: bool = False) -> float:
    """The derivative along a path that the gradients claim. With `spare`, NaN and infinite terms are left out."""
    terms = _terms(gradients, path)
    return float(np.sum(terms[np.isfinite(terms)] if spare else terms))


def _directions(host: np.ndarray, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Steps through a whole array: random ones, random ones in proportion to it, and one that moves all elements alike.

    Along the last one equal elements stay equal. It shows a gradient that was given to all of them instead of one.
    """
    typical = float(np.mean(element_sizes(host)))
    steps = []
    for i in range(count):
        normal = generator.standard_normal(host.shape)
        if i % 3 == 2:
            steps.append(np.full(host.shape, typical))
        else:
            steps.append(typical * normal if i % 3 == 0 else own_sizes(host) * normal)
    return steps


def _complex_row(
    gradients: Gradients, paths: list[Path], numerical: Numerical, got: np.ndarray, place: Any, weights: Any = None
) -> Row:
    """Compare with the complex step where the differences confirm it: after an abs or a cast it is wrong."""
    target, check, tolerance = gradients.target, "complex step", COMPLEX_TOLERANCE * gradients.tolerance
    columns = []
    for path in paths:
        column = complex_step(path, path.magnitude)
        if column is None:  # what takes no complex numbers is asked once
            break
        columns.append(column if weights is None else weights @ column)
    if len(columns) == len(paths) and not target.only32:
        values = np.array(columns).T.reshape(got.shape)
        oracle = Numerical(values, numerical.uncertainty * COMPLEX_SHARE, numerical.natural, numerical.floor)
        # Confirmed more closely than is then asked of the gradient.
        near = oracle.relative_error(numerical.values, 0.5 * tolerance) <= 0.25 * tolerance
        if np.isfinite(values).all() and near.all() and oracle.settled(tolerance).all():
            return comparison_row(target, check, oracle, got, tolerance, place)
    return _not_analytic(target, place)


def _not_analytic(target: Target, place: Any) -> Row:
    name = re.split(r"[\[,]", place(0).rpartition(" by ")[2])[0]
    return target.row("complex step", 0.0, where=name, note=NOT_ANALYTIC, applied=False)


def _finite_row(target: Target) -> Row:
    """Whether all outputs are finite numbers; without that no derivative means anything."""
    y = target.base
    wrong = np.flatnonzero(~np.isfinite(y))
    if not wrong.size:
        return target.row("finite output", 0.0)
    first = float(y.flat[wrong[0]])
    where = target.output_place(int(wrong[0]))
    return target.row("finite output", float("nan"), where=where, got=first, note=f"the forward gives {first} there")


def _corners_and_others(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> list[int]:
    """Flat indices: the first and the last element, the ends of the last axis, and random ones besides."""
    size = int(np.prod(shape))
    last = shape[-1] if shape else 1
    others = generator.choice(size, size=min(count, size), replace=False)
    return sorted({0, size - 1, last - 1, size - last, *(int(i) for i in others)})
