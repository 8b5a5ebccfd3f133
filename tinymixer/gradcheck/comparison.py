"""Gradients beside numerical derivatives: the relative error, and where it is worst."""

import math
from dataclasses import dataclass

import numpy as np

from tinymixer.gradcheck.arrays import largest, place_of
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.subject import Subject

SMALL = 1e-3  # elements below this part of the largest one are measured against that part
LAST_BIT = float(np.finfo(np.float64).eps)
SHARE = 0.1  # of the tolerance, at most, is given to the uncertainty of the numerical derivative
ROOM = 10  # times less sharply than the tolerance says may a comparison be made where the differences are uncertain
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
        return (self.uncertainty / (SHARE * tolerance) <= ROOM * size) | (self.uncertainty == 0)


def comparison_row(
    subject: Subject,
    check: str,
    numerical: Numerical,
    got: np.ndarray,
    tolerance: float,
    places: "Places",
) -> Row:
    """The row for the worst element of a comparison; NaN is worse than any number, doubt worse than any error."""
    error = numerical.relative_error(got, tolerance)
    doubtful = ~numerical.settled(tolerance) | ~np.isfinite(numerical.values)
    badness = np.where(np.isfinite(error), error, np.inf)
    note = ""
    if doubtful.any() and np.isfinite(got).all():
        badness = np.where(doubtful, np.inf, badness)
        note = SETTLED
    if not error.size:
        return subject.row(check, 0.0, tolerance=tolerance, note="there is nothing to compare")
    worst = int(np.argmax(badness))
    worst_error = math.nan if note else float(error.flat[worst])
    return subject.row(
        check,
        worst_error,
        tolerance=tolerance,
        where=places.name(worst) if worst_error else "",
        expected=float(numerical.values.flat[worst]),
        got=float(got.flat[worst]),
        note=note,
    )


@dataclass
class Places:
    """How the compared numbers are called: elements of an input, of a Jacobian, or directions."""

    input_name: str
    shape: tuple[int, ...]
    chosen: list[int] | None = None  # flat indices of the elements looked at; None for all of them
    outputs: tuple[int, ...] | None = None  # the output's shape where a Jacobian (outputs, inputs) is compared

    def name(self, index: int) -> str:
        size = math.prod(self.shape)
        if self.outputs is not None:
            row, column = divmod(index, size)
            return f"{place_of('y', self.outputs, row)} by {place_of(self.input_name, self.shape, column)}"
        return place_of(self.input_name, self.shape, index if self.chosen is None else self.chosen[index])


@dataclass
class Direction(Places):
    """One random direction through all of an input."""

    def name(self, index: int) -> str:
        return f"{self.input_name}, direction {index + 1}"
