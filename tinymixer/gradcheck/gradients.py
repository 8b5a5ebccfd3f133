"""A backward pass beside numerical derivatives: every element where that is cheap, samples where it is not."""

from dataclasses import replace

import numpy as np

from tinymixer.gradcheck.arrays import Named, place_of
from tinymixer.gradcheck.comparison import Expected, Place
from tinymixer.gradcheck.differences import (
    DRAWS,
    SLACK,
    Path,
    complex_step,
    differentiated,
    element_sizes,
    joint_noise,
    output_size,
    own_sizes,
    rounding_noise,
    slopes_around,
)
from tinymixer.gradcheck.report import Coverage, Row
from tinymixer.gradcheck.target import Settings, Target, Trial

COMPLEX_TOLERANCE = 1e-2  # of the tolerance of differences: the complex step is exact to rounding
COMPLEX_SHARE = 0.1  # of the differences' uncertainty is allowed to the complex step
Part = tuple[float, float, float, float]  # the derivative, its uncertainty, its floor, and what the backward claims
LOOKED_AT = 4  # the search for kinks at points nearby ends after so many paths without one
NOT_ANALYTIC = (
    "not analytic here, as far as can be told: the forward takes no complex numbers, loses their imaginary part "
    "(abs, a cast), or the differences are too uncertain to confirm the answer"
)


def gradient_rows(target: Target, settings: Settings) -> tuple[list[Row], list[Coverage]]:
    """Compare the gradient by every input with central differences and, where it can be had, the complex step.

    Returns the rows, and for each input how much of it was looked at.
    """
    finite = _finite_row(target)
    if not finite.passed:
        return [finite], []
    trial = Trial(target, settings, "gradients")
    limit, outputs = settings.jacobian_limit, trial.dy.size
    small = [name for name, host in target.inputs.items() if max(host.size, outputs) <= limit]
    claimed = [trial.gradients(one_hot) for one_hot in np.eye(outputs if small else 0)]
    rows, looked_at = [finite], []
    for name, host in target.inputs.items():
        noise, measured = rounding_noise(target, name, trial.generator)
        chosen = np.arange(host.size)
        if name not in small:
            chosen = _corners_and_others(host.shape, settings.samples, trial.generator)
        paths = _element_paths(target, name, chosen, noise, measured)
        places = [place_of(name, host.shape, int(index)) for index in chosen]
        if name in small:
            jacobian = np.array([gradients[f"d{name}"].ravel() for gradients in claimed])
            found, directions = _every_element(trial, name, paths, places, jacobian)
        else:
            found, directions = _some_elements(trial, name, paths, places)
        rows += found
        looked_at.append(Coverage(name, host.shape, len(chosen), directions, name not in target.passed, target.name))
    return rows, looked_at


def _every_element(
    trial: Trial, name: str, paths: list[Path], elements: list[str], claimed: np.ndarray
) -> tuple[list[Row], int]:
    """The whole Jacobian (outputs, inputs) of one input, and the gradient of a random cotangent."""
    target, size = trial.target, output_size(trial.target, name)

    def place(index: int, inputs: list[str]) -> str:
        row, column = divmod(index, len(inputs))
        return f"{target.output_place(row)} by {inputs[column]}"

    each = differentiated(paths, size, trial.tolerance)
    kinks = _accept_kinks(trial, each, claimed, paths)
    summed = _summed(each, trial.dy)
    rows = [
        each.row(target, "jacobian", claimed, lambda index: place(index, elements)),
        summed.row(target, "random cotangent", trial.first[f"d{name}"].ravel(), elements.__getitem__),
        _complex_row(trial, name, paths, each, claimed, lambda index: place(index, elements)),
    ]
    if not kinks:
        return rows, 0  # every direction is a sum of what was compared already
    paths, directions = _direction_paths(trial, name, 6, paths[0].noise)
    each = differentiated(paths, size, trial.tolerance)
    along = claimed @ np.array([path.steps[name].ravel() for path in paths]).T  # (outputs, directions)
    _accept_kinks(trial, each, along, paths)
    return [*rows, each.row(target, "directions", along, lambda index: place(index, directions))], len(paths)


def _some_elements(trial: Trial, name: str, paths: list[Path], elements: list[str]) -> tuple[list[Row], int]:
    """Single elements of a large input, by differences and by the complex step, and random directions through it."""
    size, count = output_size(trial.target, name), max(trial.settings.samples // 2, 1)
    rows = _contracted_rows(trial, "elements", name, paths, elements, size)
    along, directions = _direction_paths(trial, name, count, paths[0].noise)
    return [*rows, *_contracted_rows(trial, "directions", name, along, directions, size)], len(along)


def joint_row(
    target: Target, settings: Settings, purpose: str = "joint directions", count: int = 0, only: int | None = None
) -> Row:
    """Compare along random directions through all inputs at once: each sums over every gradient.

    only   the index of the one direction to use
    """
    trial = Trial(target, settings, purpose)
    count = count or max(settings.samples // 2, 1)
    each = {name: _directions(host, count, trial.generator) for name, host in target.inputs.items()}
    chosen = range(count) if only is None else [only]
    paths = [Path(target, {name: steps[i] for name, steps in each.items()}, np.zeros(0)) for i in chosen]
    noise = joint_noise(target, paths)
    paths = [replace(path, noise=noise) for path in paths]
    size = max(output_size(target, name) for name in target.passed or target.inputs)
    directions = [f"all inputs, direction {i + 1}" for i in chosen]
    return _contracted_rows(trial, "directions", "all inputs", paths, directions, size)[0]


def _contracted_rows(
    trial: Trial, check: str, name: str, paths: list[Path], places: list[str], size: float
) -> list[Row]:
    """Compare derivatives of sum(cotangent * output) along some paths, by differences and by the complex step."""
    target = trial.target
    each = differentiated(paths, size, trial.tolerance)  # (outputs, paths)
    got = np.array([_along(trial.first, path) for path in paths])
    sums = _summed(each, trial.dy, [_terms(trial.first, path) for path in paths])
    wrong = ~(sums.relative_error(got) <= trial.tolerance) | ~sums.settled()
    if not wrong.any():
        complex_row = _complex_row(trial, name, paths, sums, got, places.__getitem__, trial.dy)
        return [sums.row(target, check, got, places.__getitem__), complex_row]
    parts: list[Part] = []
    owners: list[str] = []
    in_vain = 0
    for k, whole in enumerate(zip(sums.values, sums.uncertainty, np.asarray(sums.floor), got, strict=True)):
        draws = DRAWS if in_vain < LOOKED_AT else 0
        found = _parts_at_kinks(trial, paths[k], each, k, got[k], draws) if wrong[k] else []
        in_vain += bool(wrong[k]) and not found
        parts += found or [whole]
        owners += [places[k]] * len(found or [whole])
    values, uncertainty, floor, claims = np.array(parts).T
    together = replace(sums, values=values, uncertainty=uncertainty, floor=floor)
    return [together.row(target, check, claims, owners.__getitem__), _not_analytic(target, name)]


def _parts_at_kinks(trial: Trial, path: Path, each: Expected, k: int, claim: float, draws: int) -> list[Part]:
    """A sum over the outputs that came out wrong along a path, in parts that can be judged; none where all is smooth.

    The outputs that have a kink on the path, or no certain difference, are left out of the sum, and the backward gives
    the gradient of the others. Those with a kink are then compared alone: any value between their slopes is right.
    """
    settled, slopes = each.settled(), slopes_around(path, trial.generator, draws)
    if settled[:, k].all() and not slopes.kink.any():
        return []
    if (settled.any(axis=1) | slopes.kink).all():
        smooth = np.where(settled[:, k] & ~slopes.kink, trial.dy, 0.0)
        claimed = trial.gradients(smooth)
        column = replace(each, values=each.values[:, [k]], uncertainty=each.uncertainty[:, [k]])
        sums = _summed(column, smooth, [_terms(claimed, path)])
        claim = _along(claimed, path, spare=bool((~settled[:, k] & ~slopes.kink).any()))
        parts = [(sums.values[0], sums.uncertainty[0], np.asarray(sums.floor)[0], claim)]
    else:  # along no path was there a slope: the forward has none here
        parts = [(np.nan, np.inf, 0.0, claim)]
    if slopes.kink.any():
        bent = np.where(slopes.kink, abs(trial.dy), 0.0)
        claim = _along(trial.gradients(bent), path)
        low, high = (float(bent @ np.where(slopes.kink, side, 0.0)) for side in (slopes.low, slopes.high))
        slack = SLACK * max(abs(low), abs(high))
        nearest = claim if low - slack <= claim <= high + slack else float(np.clip(claim, low, high))
        parts.append((nearest, 0.0, 0.0, claim))
    return parts


def _accept_kinks(trial: Trial, each: Expected, claimed: np.ndarray, paths: list[Path]) -> bool:
    """Take the backward's answer at kinks, where any number between the slopes around is a gradient.

    each.values and claimed are (outputs, paths). Returns whether there was such a place.
    """
    doubtful = ~(each.relative_error(claimed) <= trial.tolerance) | ~each.settled()
    accepted = np.zeros(doubtful.shape, dtype=bool)
    in_vain = 0
    for k in np.flatnonzero(doubtful.any(axis=0)):
        for draws in (0, DRAWS) if in_vain <= LOOKED_AT else (0,):
            slopes = slopes_around(paths[k], trial.generator, draws)
            accepted[:, k] = doubtful[:, k] & slopes.accepts(claimed[:, k])
            if not (doubtful[:, k] & ~accepted[:, k]).any():
                break
        else:
            in_vain += 1
    each.values[accepted], each.uncertainty[accepted] = claimed[accepted], 0.0
    return bool(accepted.any())


def _summed(each: Expected, weights: np.ndarray, terms: list[np.ndarray] | None = None) -> Expected:
    """Weighted sums over the outputs. The errors of the outputs are taken to be independent of each other.

    terms   the terms of the backward's sums. Their norm is the size such a sum usually has, and errors are measured
            against it: a sum may be nearly 0 by chance. Not needed where single elements are compared
    """
    used = np.flatnonzero(weights)
    weights = weights[used]
    with np.errstate(all="ignore"):
        values = weights @ each.values[used]
        uncertainty = np.linalg.norm(weights[:, None] * each.uncertainty[used], axis=0)
    norms = np.array([np.linalg.norm(part) if part.size > 1 else 0.0 for part in terms or [weights[:0]] * values.size])
    floor = np.where(np.isfinite(norms), norms, 0.0)
    return Expected(values, uncertainty, each.natural * float(np.linalg.norm(weights)), each.tolerance, floor)


def _terms(gradients: Named, path: Path) -> np.ndarray:
    return np.concatenate([(gradients[f"d{name}"] * step)[step != 0] for name, step in path.steps.items()])


def _along(gradients: Named, path: Path, spare: bool = False) -> float:
    """The derivative along a path that the gradients claim. With `spare`, NaN and infinite terms are left out."""
    terms = _terms(gradients, path)
    return float(np.sum(terms[np.isfinite(terms)] if spare else terms))


def _element_paths(
    target: Target, name: str, chosen: np.ndarray, noise: np.ndarray, measured: np.ndarray
) -> list[Path]:
    """The paths along which one element alone moves."""
    host, paths = target.inputs[name], []
    own, sizes = own_sizes(host).ravel(), element_sizes(host)
    for k in chosen:
        step = np.zeros(host.shape)
        step.flat[k] = 1.0
        finer = (float(own[k]), measured) if own[k] < sizes[k] else None
        paths.append(Path(target, {name: step}, noise, float(sizes[k]), finer))
    return paths


def _directions(host: np.ndarray, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Steps through a whole array: random ones, random ones in proportion to it, and one that moves all elements alike.

    Along the last one equal elements stay equal. It shows a gradient that was given to all of them instead of one.
    """
    typical = float(np.mean(element_sizes(host)))
    draws = [generator.standard_normal(host.shape) for _ in range(count)]
    kinds = [(typical * normal, own_sizes(host) * normal, np.full(host.shape, typical)) for normal in draws]
    return [kind[i % 3] for i, kind in enumerate(kinds)]


def _direction_paths(trial: Trial, name: str, count: int, noise: np.ndarray) -> tuple[list[Path], list[str]]:
    """The paths along which a whole input moves, and how each is written."""
    steps = _directions(trial.target.inputs[name], count, trial.generator)
    return [Path(trial.target, {name: s}, noise) for s in steps], [f"{name}, direction {i + 1}" for i in range(count)]


def _complex_row(
    trial: Trial,
    name: str,
    paths: list[Path],
    numerical: Expected,
    got: np.ndarray,
    place: Place,
    weights: np.ndarray | None = None,
) -> Row:
    """Compare with the complex step where the differences confirm it: after an abs or a cast it is wrong."""
    target, tolerance, columns = trial.target, COMPLEX_TOLERANCE * trial.tolerance, []
    for path in paths:
        column = complex_step(path, path.magnitude)
        if column is None or target.only32:  # what takes no complex numbers is asked once
            return _not_analytic(target, name)
        columns.append(column if weights is None else weights @ column)
    values = np.array(columns).T
    oracle = replace(numerical, values=values, uncertainty=numerical.uncertainty * COMPLEX_SHARE, tolerance=tolerance)
    # Confirmed more closely than is then asked of the gradient.
    near = replace(oracle, tolerance=0.5 * tolerance).relative_error(numerical.values) <= 0.25 * tolerance
    if np.isfinite(values).all() and near.all() and oracle.settled().all():
        return oracle.row(target, "complex step", got, place)
    return _not_analytic(target, name)


def _not_analytic(target: Target, name: str) -> Row:
    return target.row("complex step", 0.0, where=name, note=NOT_ANALYTIC, applied=False)


def _finite_row(target: Target) -> Row:
    """Whether all outputs are finite numbers; without that no derivative means anything."""
    wrong = np.flatnonzero(~np.isfinite(target.base))[:1]
    note = f"the forward gives {', '.join(map(str, target.base[wrong]))} at"
    return target.holds("finite output", [target.output_place(int(index)) for index in wrong], note)


def _corners_and_others(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> np.ndarray:
    """Flat indices: the first and the last element, the ends of the last axis, and random ones besides."""
    size, last = int(np.prod(shape)), shape[-1] if shape else 1
    others = generator.choice(size, size=min(count, size), replace=False)
    return np.unique([0, size - 1, last - 1, size - last, *others])
