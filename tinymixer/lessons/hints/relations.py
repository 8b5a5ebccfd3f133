"""Detectors for wrong numbers: how they are related to the right ones, where one relation holds in every case.

Each takes a `Seen` and returns a hint, or "" unless undoing what it suspects makes the output right in every case.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinymixer.lessons.exercise import as_tuple
from tinymixer.lessons.hints.repairs import repaired
from tinymixer.lessons.hints.seen import Seen
from tinymixer.lessons.running import Outcome, run

SEVEN_DIGITS = 4e-6  # a relative error that computing in float32 leaves


def _arrays(seen: Seen) -> list[tuple[np.ndarray, np.ndarray]]:
    """(expected, got) as arrays of numbers; empty where one is something else."""
    found = []
    for expected, got in seen.pairs:
        if isinstance(expected, bool) or not isinstance(expected, np.ndarray | np.number | float | int):
            return []
        try:
            pair = np.asarray(expected), np.asarray(got)
        except ValueError:  # a ragged list
            return []
        if pair[1].dtype.kind not in "fiucb":
            return []
        found.append(pair)
    return found


def _relative(expected: np.ndarray, got: np.ndarray) -> float:
    """The largest difference, relative to the largest expected element."""
    if expected.shape != got.shape:
        return np.inf
    with np.errstate(all="ignore"):
        apart = np.abs(got.astype(complex) - expected)
    error = float(np.max(apart, initial=0.0) / (np.max(np.abs(expected), initial=0.0) or 1.0))
    return error if np.isfinite(error) else np.inf


def dtype_changed(seen: Seen) -> str:
    """The right numbers in another floating-point type than the one asked for."""
    pairs = _arrays(seen)
    if not pairs or any(_relative(*pair) > max(SEVEN_DIGITS, 4 * _eps(pair[1])) for pair in pairs):
        return ""
    wider = [pair for pair in pairs if pair[0].dtype.kind == pair[1].dtype.kind == "f" and _digits(pair) > 0]
    narrower = [pair for pair in pairs if pair[0].dtype.kind == pair[1].dtype.kind == "f" and _digits(pair) < 0]
    if wider and not narrower:
        expected, got = wider[0]
        cause = repaired(seen) or (
            "The wider type decides: an array made without a dtype (np.zeros, np.eye), whole numbers or booleans "
            "divided, astype(float), or a NumPy number such as np.sqrt(2) turns everything into float64. A Python "
            "float does not."
        )
        return f"The values are right, but {seen.output} is {got.dtype} where {expected.dtype} is asked for. {cause}"
    if narrower and not wider:
        expected, got = narrower[0]
        cause = repaired(seen) or "Somewhere the numbers are made narrower (astype, or a dtype=)."
        digits = np.finfo(got.dtype).precision + 1
        return (
            f"The values are right to about {digits} digits, but {seen.output} is {got.dtype} where {expected.dtype} "
            f"is asked for. {cause}"
        )
    return ""


def _eps(array: np.ndarray) -> float:
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def digits_lost(seen: Seen) -> str:
    """Six digits are right in every case, and the later ones are not."""
    pairs = _arrays(seen)
    if not pairs or max(_relative(*pair) for pair in pairs) > SEVEN_DIGITS or any(map(_digits, pairs)):
        return ""
    return (
        "Six digits are right and the later ones are not. Where do they get lost: in float32 on the way, in a constant "
        "with few digits, in a step that is too large?"
    )


def _digits(pair: tuple[np.ndarray, np.ndarray]) -> int:
    expected, got = pair
    return got.dtype.itemsize - expected.dtype.itemsize if got.ndim else 0


def whole_numbers(seen: Seen) -> str:
    """What comes after the point is lost: //, int(), round() or an array of whole numbers."""
    pairs = _arrays(seen)
    if not pairs or all(np.all(np.mod(expected, 1) == 0) for expected, _ in pairs):
        return ""
    if not any(np.any(got) for _, got in pairs):  # 0 everywhere comes of many mistakes
        return ""
    for name, change in (("rounded down", np.floor), ("cut off at the point", np.trunc), ("rounded", np.round)):
        if all(got.shape == expected.shape and np.array_equal(change(expected), got) for expected, got in pairs):
            return (
                f"The numbers are {name}: what comes after the point is lost. // does that, and so do int(), and an "
                "array of whole numbers into which the results are written."
            )
    return ""


def sign(seen: Seen) -> str:
    """The right numbers with the opposite sign, or without their sign."""
    if seen.explained_by(np.negative):
        return f"The sign of {seen.output} is wrong everywhere; its size is right."
    pairs = _arrays(seen)
    if pairs and all(got.shape == expected.shape and seen.agree(np.abs(expected), got) for expected, got in pairs):
        return f"The sizes are right, but the signs are gone: {seen.output} has negative elements too."
    return ""


def axes_exchanged(seen: Seen) -> str:
    """The right numbers with the axes in another order, or an axis reversed."""
    ranks = {got.ndim for _, got in _arrays(seen)}
    if len(ranks) != 1 or not 2 <= (rank := ranks.pop()) <= 5:
        return ""
    for axes in itertools.permutations(range(rank)):
        if axes != tuple(range(rank)) and seen.explained_by(partial(np.transpose, axes=axes)):
            _, got = max(seen.pairs, key=lambda pair: len(set(np.shape(pair[0]))))
            if rank == 2:
                return f"This is the transpose of what is asked for: rows and columns of {seen.output} are exchanged."
            moved = [str(axis) for axis in range(rank) if axes[axis] != axis]
            return (
                f"The numbers are right, but the axes are in another order: axes {', '.join(moved)} of {seen.output}, "
                f"of shape {np.shape(got)} here, must change places."
            )
    for axis in range(rank):
        if seen.explained_by(partial(np.flip, axis=axis)):
            return f"The numbers are right, but along axis {axis} they come in reverse order."
    return ""


def reshape_for_transpose(seen: Seen) -> str:
    """The right numbers in other places: a reshape where axes were to be exchanged."""
    pairs = _arrays(seen)
    several = [np.unique(expected).size == expected.size > 3 for expected, _ in pairs]
    if pairs and all(several) and all(
        np.shape(got) == np.shape(expected) and seen.agree(np.sort(expected, axis=None), np.sort(got, axis=None))
        for expected, got in pairs
    ):  # fmt: skip
        return (
            f"All numbers of {seen.output} are right, and yet in the wrong places: a reshape keeps the order in "
            "memory and only cuts it elsewhere. Are the axes transposed where they must be, before a reshape?"
        )
    return ""


def sum_missing(seen: Seen) -> str:
    """A sum or a mean over an axis would make it right."""
    ranks = {got.ndim for _, got in _arrays(seen)}
    if len(ranks) != 1 or not 1 <= (rank := ranks.pop()) <= 4:
        return ""
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), count):
            for name, reduce in (("sum", np.sum), ("mean", np.mean)):
                if seen.explained_by(partial(reduce, axis=axes)):
                    _, got = max(seen.pairs, key=lambda pair: np.size(pair[1]))
                    over = "axis " + " and ".join(map(str, axes)) if count < rank else "all of it"
                    return (
                        f"The {name} over {over} is missing: {seen.output} has the shape {np.shape(got)}, and "
                        f"{np.shape(_)} is asked for."
                    )
    return ""


def factor(seen: Seen) -> str:
    """Every element is the same number of times too large: 2, or how many images there are, or one over it."""
    ratios = [_ratio(expected, got) for expected, got in _arrays(seen)]
    if not ratios or any(ratio is None for ratio in ratios):
        return ""
    found = np.array([ratio for ratio in ratios if ratio is not None and np.isfinite(ratio)])
    if found.size < 1 or np.allclose(found, 1, rtol=1e-2):
        return ""
    if found.size > 1 and np.allclose(found, found[0], rtol=1e-6):
        return _constant_factor(seen, float(found[0]))
    if found.size != len(seen.pairs):
        return ""
    for described, sizes in _sizes(seen):
        for inverse in (False, True):
            if np.allclose(found, 1 / sizes if inverse else sizes, rtol=1e-6):
                if inverse:
                    return (
                        f"{seen.output} is too small by a factor, and the factor is {described}: a division by it is "
                        "one too many. Is there a mean where a sum belongs?"
                    )
                return (
                    f"{seen.output} is too large by a factor, and the factor is {described}: a division by it is "
                    "missing. Is there a sum where a mean belongs?"
                )
    return ""


def _constant_factor(seen: Seen, ratio: float) -> str:
    if not 1e-12 < abs(ratio) < 1e12:
        return ""
    known = {2.0: "twice", 0.5: "half of", 4.0: "four times", 0.25: "a quarter of", 100.0: "a hundred times"}
    named = [words for number, words in known.items() if np.isclose(ratio, number, rtol=1e-7)]
    said = named[0] if named else f"{ratio:.6g} times"
    return f"Everywhere this is {said} what it should be: a factor is missing, or there is one too many."


def _ratio(expected: np.ndarray, got: np.ndarray) -> float | None:
    """got / expected where it is one number; NaN where both are zero, None where there is no such number."""
    if expected.shape != got.shape or not np.isfinite(got).all() or got.dtype.kind == "c":
        return None
    if not np.any(expected):
        return np.nan if not np.any(got) else None
    large = np.abs(expected) > 1e-3 * np.abs(expected).max()
    ratios = np.asarray(got)[large] / np.asarray(expected)[large]
    ratio = float(ratios.flat[0])
    return ratio if _relative(np.asarray(expected) * ratio, np.asarray(got)) < 1e-6 * abs(ratio) else None


def _sizes(seen: Seen) -> list[tuple[str, np.ndarray]]:
    """What a factor may be, in words, and its size in each case: lengths of the inputs' axes, and their products."""
    found: list[tuple[str, np.ndarray]] = []
    flat = [_flat(case) for case in seen.cases]
    names = seen.input_names
    for place in range(min(map(len, flat))):
        values = [case[place] for case in flat]
        shapes = [np.shape(value) for _, value in values if isinstance(value, np.ndarray)]
        if len(shapes) < len(values) or len({len(shape) for shape in shapes}) > 1 or not shapes[0]:
            continue
        top = values[0][0]
        name = names[top] if top < len(names) else f"input {top + 1}"
        for axis in range(len(shapes[0])):
            found.append((f"the length of axis {axis} of {name}", np.array([shape[axis] for shape in shapes], float)))
        found.append((f"the number of elements of {name}", np.array([np.prod(shape) for shape in shapes], float)))
    return [(words, sizes) for words, sizes in found if len(set(sizes)) > 1]


def _flat(case: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """The arrays among the inputs, those in tuples too, each with the number of its input."""
    return [(top, part) for top, value in enumerate(case) for part in (value if isinstance(value, tuple) else (value,))]


def off_by_one(seen: Seen) -> str:
    """Whole numbers that are one too large or one too small, in every case."""
    pairs = _arrays(seen)
    if not pairs or any(expected.dtype.kind not in "iu" for expected, _ in pairs):
        return ""
    for change, words in ((1, "one too small"), (-1, "one too large")):
        if seen.explained_by(partial(np.add, change)):
            return f"{seen.output} is {words} everywhere: does something count from 1, or is an end counted twice?"
    return ""


def another_output(seen: Seen) -> str:
    """What stands in the place of one output is another, or an input as it came in."""
    exercise = seen.exercise
    for name in exercise.compared:
        rights = [outcome.outputs[name] for outcome in seen.expected if outcome.outputs is not None]
        if name == seen.output or not any(np.size(right) > 1 for right in rights):
            continue
        if seen.pairs and all(seen.agree(one, got) for one, (_, got) in zip(rights, seen.pairs, strict=False)):
            return f"In the place of {seen.output} stands {name}."
    for index, name in enumerate(seen.input_names):
        inputs = [case[index] for case in seen.cases]
        if seen.pairs and all(
            isinstance(value, np.ndarray) and type(got) is np.ndarray and seen.agree(value, got)
            for value, (_, got) in zip(inputs, seen.pairs, strict=False)
        ):
            return f"{seen.output} is {name} as it came in: nothing has been done with it."
    return ""


def input_ignored(seen: Seen) -> str:
    """An input on which the right output depends and the learner's does not."""
    for index, name in enumerate(seen.input_names):
        floats = all(isinstance(case[index], np.ndarray) and case[index].dtype.kind == "f" for case in seen.cases)
        if floats and _does_not_depend(seen, index):
            return f"{seen.output} is the same whatever {name} holds, but it should depend on it: {name} is not used."
    return ""


def _does_not_depend(seen: Seen, index: int) -> bool:
    """Whether another value of an input changes the reference's output in some case, and the learner's in none."""
    if seen.output is None or seen.error is not None:
        return False
    changed = False
    for case, right, outcome in zip(seen.cases, seen.expected, seen.outcomes, strict=False):
        other = (*case[:index], np.roll(case[index], 1, axis=-1) * 1.25 + 0.125, *case[index + 1 :])
        others = run(seen.exercise, as_tuple(seen.exercise.reference), other), run(seen.exercise, seen.answers, other)
        values = [_value(one, seen.output) for one in (right, others[0], outcome, others[1])]
        if any(value is None for value in values) or not np.array_equal(values[2], values[3]):
            return False
        changed = changed or not seen.agree(values[0], values[1])
    return changed


def _value(outcome: Outcome, name: str) -> Any:
    return None if outcome.outputs is None else outcome.outputs[name]


FORM: tuple[Callable[[Seen], str], ...] = (dtype_changed,)
DETECTORS: tuple[Callable[[Seen], str], ...] = (
    digits_lost,
    whole_numbers,
    sign,
    axes_exchanged,
    sum_missing,
    factor,
    off_by_one,
    another_output,
    input_ignored,
    reshape_for_transpose,
)
