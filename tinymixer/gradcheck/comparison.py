"""When two numbers are equal: one comparison for gradients, for answers given twice, and for float32 beside float64.

The relative error is |expected - got| / max(|expected|, |got|, floor). The floor keeps it meaningful near zero, and is
all that differs: for arrays that should be the same it is the size of the whole array; for numerical derivatives it
follows from how certain they are.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinymixer.gradcheck.arrays import Named, identical, largest, place_of
from tinymixer.gradcheck.report import Row, worst
from tinymixer.gradcheck.target import Target

SMALL = 1e-3  # derivatives below this part of the largest one are measured against that part
SHARE = 0.1  # of the tolerance, at most, is given to the uncertainty of the numerical derivative
DULLER = 10  # where the differences are uncertain, a comparison may be this many times less sharp than the tolerance
LAST_BIT, TINY = float(np.finfo(np.float64).eps), 1e-300
SETTLED = (
    "the differences do not settle: the forward jumps here, draws random numbers, computes in less than float64, "
    "or loses most of its digits to cancellation"
)

Place = Callable[[int], str]


def closest_row(
    target: Target,
    check: str,
    expected: Named,
    got: Named,
    tolerance: float,
    note: str,
    sizes: Mapping[str, float] | None = None,
) -> Row:
    """The row for two sets of arrays that should be the same, within a tolerance relative to their size."""
    rows = [target.row(check, 0.0, tolerance=tolerance)]
    for name, wanted in expected.items():
        if wanted.size and not identical(wanted, got[name]):
            size = max((sizes or {}).get(name, 0.0), largest(wanted), largest(got[name]))
            exactly = Expected(wanted, np.zeros(wanted.shape), 0.0, tolerance, size)
            rows.append(exactly.row(target, check, got[name], partial(place_of, name, wanted.shape), note))
    return worst(rows)


@dataclass
class Expected:
    """Numbers that are expected, the uncertainty of each, and `natural`, the size that one usually has here.

    tolerance   of what they are compared with
    floor       the smallest number that an error is divided by: a sum of many terms may be nearly 0 by chance
    """

    values: np.ndarray
    uncertainty: np.ndarray
    natural: float
    tolerance: float
    floor: np.ndarray | float = 0.0

    @property
    def doubt(self) -> np.ndarray:
        """How large a number has to be for the uncertainty to take no more than its share of the tolerance."""
        return self.uncertainty / max(SHARE * self.tolerance, TINY)

    def relative_error(self, got: np.ndarray) -> np.ndarray:
        """|expected - got| / max(|expected|, |got|, floor), 0 where both are 0.

        The floor is at least a thousandth of the largest number; more where the numbers are less certain than that.
        """
        # A difference of exactly 0 comes from outputs that rounding keeps from moving at all.
        still = np.where(self.values == 0, LAST_BIT * self.natural / max(SHARE * self.tolerance, TINY), 0.0)
        floor = np.maximum(np.maximum(self.doubt, self.floor), np.maximum(still, SMALL * largest(self.values)))
        with np.errstate(all="ignore"):
            apart = abs(self.values - got)
            error = apart / np.maximum(np.maximum(abs(self.values), abs(got)), floor)
        return np.where(apart == 0, 0.0, error)

    def settled(self) -> np.ndarray:
        """Whether each number is certain enough to tell a right gradient from a wrong one."""
        certain = self.doubt <= DULLER * max(largest(self.values), self.natural)
        return (certain | (self.uncertainty == 0)) & np.isfinite(self.values)

    def row(self, target: Target, check: str, got: np.ndarray, place: Place, note: str = "") -> Row:
        """The row for the worst element. NaN counts as worse than any error, and so does a number not settled.

        place   gives the text for the element of a flat index
        note    said where the comparison fails
        """
        if not got.size:
            note = "there is nothing to compare"
            return target.row(check, 0.0, tolerance=self.tolerance, note=note, applied=False)
        error, settled = self.relative_error(got), self.settled()
        unsettled = bool(np.isfinite(got).all() and not settled.all())
        badness = np.where(np.isfinite(error) & (settled | (not unsettled)), error, np.inf)
        index = int(np.argmax(badness))
        found = math.nan if unsettled else float(error.flat[index])
        return target.row(
            check,
            found,
            tolerance=self.tolerance,
            where=place(index) if found else "",
            expected=float(self.values.flat[index]),
            got=float(got.flat[index]),
            note="" if found <= self.tolerance else note or SETTLED * unsettled,
        )
