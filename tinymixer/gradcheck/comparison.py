"""Gradients beside numerical derivatives: the relative error, and where it is worst."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinymixer.gradcheck.arrays import largest
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.scale import LAST_BIT
from tinymixer.gradcheck.target import Target

SMALL = 1e-3  # elements below this part of the largest one are measured against that part
SHARE = 0.1  # of the tolerance, at most, is given to the uncertainty of the numerical derivative
DULLER = 10  # times less sharply than the tolerance says may a comparison be made where the differences are uncertain
SETTLED = (
    "the differences do not settle: the forward jumps here, draws random numbers, computes in less than float64, "
    "or loses most of its digits to cancellation"
)


@dataclass
class Numerical:
    """Numerical derivatives: values, how far each may be off, and how large a derivative is to be expected here.

    floor   errors are measured against no less than this: for sums of many terms, whose size may vanish by chance
    """

    values: np.ndarray
    uncertainty: np.ndarray
    natural: float
    floor: np.ndarray | float = 0.0

    def relative_error(self, got: np.ndarray, tolerance: float) -> np.ndarray:
        """|expected - got| / max(|expected|, |got|, floor), 0 where both are 0.

        The floor is what keeps the quotient meaningful near zero: a thousandth of the largest expected element, and
        enough that the uncertainty of the differences takes no more than a tenth of the tolerance.
        """
        expected = self.values
        floor = np.maximum(SMALL * largest(expected), self.uncertainty / (SHARE * tolerance))
        floor = np.maximum(floor, self.floor)
        # A difference of exactly 0 comes from outputs that rounding keeps from moving at all.
        floor = np.maximum(floor, np.where(expected == 0, LAST_BIT * self.natural / (SHARE * tolerance), 0.0))
        with np.errstate(all="ignore"):
            apart = abs(expected - got)
            error = apart / np.maximum(np.maximum(abs(expected), abs(got)), floor)
        return np.where(apart == 0, 0.0, error)

    def settled(self, tolerance: float) -> np.ndarray:
        """Where the differences are certain enough to tell a right gradient from a wrong one."""
        size = max(largest(self.values), self.natural)
        certain = (self.uncertainty / (SHARE * tolerance) <= DULLER * size) | (self.uncertainty == 0)
        return certain & np.isfinite(self.values)


def comparison_row(
    target: Target,
    check: str,
    numerical: Numerical,
    got: np.ndarray,
    tolerance: float,
    place: Callable[[int], str],
) -> Row:
    """The row for the worst element of a comparison; NaN is worse than any number, doubt worse than any error.

    place   how the element of a flat index is written
    """
    error = numerical.relative_error(got, tolerance)
    doubtful = ~numerical.settled(tolerance)
    badness = np.where(np.isfinite(error), error, np.inf)
    note = ""
    if doubtful.any() and np.isfinite(got).all():
        badness = np.where(doubtful, np.inf, badness)
        note = SETTLED
    if not error.size:
        return target.row(check, 0.0, tolerance=tolerance, note="there is nothing to compare", applied=False)
    worst = int(np.argmax(badness))
    worst_error = math.nan if note else float(error.flat[worst])
    return target.row(
        check,
        worst_error,
        tolerance=tolerance,
        where=place(worst) if worst_error else "",
        expected=float(numerical.values.flat[worst]),
        got=float(got.flat[worst]),
        note=note,
    )
