"""Compares an output with the expected one: finds the first wrong element and what kind of mistake it looks like."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.lessons.running import describe


@dataclass(frozen=True)
class Difference:
    """The first difference between an output and the expected one.

    where      the element, such as "dbias[0]", or the output's name
    expected, got   in words or digits
    hint       what this kind of difference usually means; "" where nothing is known
    """

    where: str
    expected: str
    got: str
    hint: str = ""


def first_difference(name: str, expected: Any, got: Any, tolerance: float) -> Difference | None:
    """Compare one output with the expected one. None where they agree."""
    if not isinstance(expected, np.ndarray | np.generic | float | int | complex) or isinstance(expected, bool):
        return _of_other_values(name, expected, got, tolerance)
    if got is None:
        return Difference(name, describe(expected), "None", "Does the function end in a return with a value?")
    try:
        array = np.asarray(got)
        numeric = array.dtype.kind in "fiucb"
    except ValueError:  # a ragged list
        numeric = False
    if not numeric:
        return Difference(name, describe(expected), describe(got), "A number or an array of numbers is asked for.")
    if isinstance(got, list | tuple) and np.ndim(expected) > 0:
        kind = type(got).__name__
        return Difference(
            name, f"an array of shape {np.shape(expected)}", f"a {kind}", f"a {kind} is not an array: {LIST_HINT}"
        )
    return _of_arrays(name, _countable(np.asarray(expected)), _countable(array), got, tolerance)


LIST_HINT = "np.array(...) or np.stack(...) makes an array of what is in it."


def _countable(array: np.ndarray) -> np.ndarray:
    """Booleans as 0 and 1, since NumPy refuses to subtract them; anything else unchanged."""
    return array.astype(int) if array.dtype == bool else array


def same(expected: Any, got: Any, tolerance: float) -> bool:
    """Whether `first_difference` would find none; quicker, since it looks for no hint."""
    numbers = isinstance(expected, np.ndarray | np.generic | float | int | complex) and not isinstance(expected, bool)
    if not numbers or not isinstance(got, np.ndarray | np.number | float | int):
        return first_difference("", expected, got, tolerance) is None
    right, array = _countable(np.asarray(expected)), _countable(np.asarray(got))
    if right.shape != array.shape or array.dtype.kind not in "fiuc" or _wrong_elements(right, array, tolerance).any():
        return False
    return not _another_float(right, array, got)


def _wrong_elements(expected: np.ndarray, got: np.ndarray, tolerance: float) -> np.ndarray:
    """Where two arrays of one shape differ by more than the tolerance; NaN differs from everything but NaN."""
    scale = float(np.max(np.abs(expected), initial=0.0))
    if not math.isfinite(scale):
        scale = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0))
    with np.errstate(all="ignore"):
        wrong = ~((np.abs(got - expected) <= tolerance * (scale or 1.0)) | (got == expected))
    if got.dtype.kind in "fc" and wrong.any():
        wrong &= ~(np.isnan(expected) & np.isnan(got))
    return np.asarray(wrong)


def _another_float(expected: np.ndarray, got: np.ndarray, original: Any) -> bool:
    """Whether an array came back in another floating-point type than the one asked for."""
    kinds = {expected.dtype.kind, got.dtype.kind}
    return expected.dtype != got.dtype and isinstance(original, np.ndarray) and kinds == {"f"}


def _of_other_values(name: str, expected: Any, got: Any, tolerance: float) -> Difference | None:
    """Texts, booleans, tuples, lists and dicts."""
    if isinstance(expected, tuple | list) and isinstance(got, tuple | list):
        if len(expected) != len(got):
            return Difference(name, f"{len(expected)} values", f"{len(got)} values")
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            if found := first_difference(f"{name}[{index}]", one, other, tolerance):
                return found
        return None
    if isinstance(expected, dict) and isinstance(got, dict):
        if expected.keys() != got.keys():
            return Difference(name, f"keys {', '.join(map(str, expected))}", f"keys {', '.join(map(str, got))}")
        for key in expected:
            if found := first_difference(f"{name}[{key!r}]", expected[key], got[key], tolerance):
                return found
        return None
    if isinstance(expected, bool) and isinstance(got, bool | np.bool_):
        got = bool(got)
    if isinstance(got, np.ndarray):
        return Difference(name, describe(expected), describe(got))
    if type(expected) is not type(got) or expected != got:
        return Difference(name, describe(expected), describe(got))
    return None


def _of_arrays(name: str, expected: np.ndarray, got: np.ndarray, original: Any, tolerance: float) -> Difference | None:
    if expected.shape != got.shape:
        return Difference(name, f"shape {expected.shape}", f"shape {got.shape}", _shape_hint(expected, got, tolerance))
    wrong = _wrong_elements(expected, got, tolerance)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = name + (f"[{', '.join(map(str, index))}]" if index else "")
        return Difference(where, _digits(expected[index]), _digits(got[index]), _value_hint(expected, got, wrong))
    if _another_float(expected, got, original):
        return Difference(name, str(expected.dtype), str(got.dtype), DTYPE_HINT)
    return None


DTYPE_HINT = "The values are right, but the dtype that went in did not come out."


def _digits(number: Any) -> str:
    return f"{number:.6g}" if np.asarray(number).dtype.kind in "fc" else str(number)


def _shape_hint(expected: np.ndarray, got: np.ndarray, tolerance: float) -> str:
    if got.ndim == 2 and expected.shape == got.T.shape and same(expected, got.T.copy(), tolerance):
        return "This is the transpose of what is asked for: swap the two factors of the product, or transpose it."
    if got.ndim > expected.ndim and got.size > expected.size:
        return "An axis is left over: is there a sum missing over an axis that the result should not have?"
    if got.size == expected.size:
        return "The number of elements is right: a reshape or a transposition is missing."
    return "Compare the shapes in the docstring with those in each line. Print the shapes on the way."


def _value_hint(expected: np.ndarray, got: np.ndarray, wrong: np.ndarray) -> str:
    """A hint about wrong values that needs no knowledge of the exercise."""
    if got.dtype.kind in "fc" and not np.isfinite(got).all() and np.isfinite(expected).all():
        return "There is an infinity or a NaN: an overflow in exp, a division by zero, or a logarithm of zero."
    if expected.size > 1 and wrong.mean() < 0.5 and expected.size > 3:
        verb = "is" if wrong.sum() == 1 else "are"
        return f"{wrong.sum()} of {expected.size} elements {verb} wrong, the others are right: what sets them apart?"
    ratio = _constant_ratio(expected, got)
    if ratio is not None and math.isclose(ratio, -1, rel_tol=1e-6):
        return "The sign is wrong everywhere, but the size is right."
    if ratio is not None and ratio != 0:
        return f"Every element is {ratio:.6g} times what it should be: a factor is missing, or there is one too many."
    if not np.any(got) and np.any(expected):
        return "Everything is zero: is anything written into the array that comes back?"
    return ""


def _constant_ratio(expected: np.ndarray, got: np.ndarray) -> float | None:
    """The one factor between expected and got; None if there is no such factor."""
    if expected.size < 3 or expected.dtype.kind != "f" or got.dtype.kind != "f" or not np.isfinite(got).all():
        return None
    nonzero = expected != 0
    if nonzero.sum() < 3 or np.any(got[~nonzero]):
        return None
    with np.errstate(all="ignore"):
        ratios = got[nonzero] / expected[nonzero]
    return float(ratios.flat[0]) if np.allclose(ratios, ratios.flat[0], rtol=1e-6, atol=0) else None
