"""Compares a result of the fused step with the exact one, by the error that rounding alone explains.

An array of the fused step (a gradient, a weight's change, logits) is compared with the same array in float64. How far
they may lie apart is not guessed: the layers compute it as well, in the fused step's precision
(`rounded_layers.py`), and their error is the measure: the largest of several, rounded in different ways.

    distance   ||found - exact||  at most  4 max(||unfused - exact||, u ||R||)

u is the precision's unit of rounding. R holds, for every element, the root of the sum of the squares of the terms that
it adds up: rounding the terms alone moves the sum by about u R. It is the bound of gradients that are zero in theory,
and of those whose few elements the layers happened to hit.

In a deep network and 16 bits, 4 times the layers' error can be more than 5 % of an early gradient. But rounding errors
go either way, so many of them hardly make a gradient longer or shorter, while a wrong factor does:

    along   |<found - exact, exact>| / ||exact||  at most  4 max(|<unfused - exact, exact>| / ||exact||, u ||R||)
            and not less than 0.025 ||exact|| and the distance's bound / sqrt(roundings)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FACTOR = 4.0
ALONG = 0.025  # of the gradient: half of the 5 % that must be found


@dataclass(frozen=True)
class Comparison:
    """One array compared.

    name            such as "gradient of stem.weight, step 1"
    measure         "distance" or "along"
    error, bound    relative to the exact array's norm where that is above its rounding, else to the bound of rounding
    """

    name: str
    measure: str
    error: float
    bound: float

    @property
    def ratio(self) -> float:
        """Error over bound: above 1 (or not a number), the comparison has failed."""
        if not (np.isfinite(self.error) and np.isfinite(self.bound)):
            return float("inf")
        return self.error / self.bound if self.bound else (0.0 if not self.error else float("inf"))

    @property
    def passed(self) -> bool:
        return self.ratio <= 1

    def sentence(self) -> str:
        return f"the {self.name} is off by {percentage(self.error)}, where rounding explains {percentage(self.bound)}"


def percentage(share: float) -> str:
    return f"{100 * share:.2g} %" if np.isfinite(share) else "what is no number"


def compare(
    name: str, found: Any, exact: Any, unfused: Sequence[Any], rounding: float, independent: int
) -> list[Comparison]:
    """Compare an array of the fused step with the exact one.

    found, exact   of one shape
    unfused        the layers' arrays, rounded in several ways: the largest of their errors counts
    rounding       u ||R||, or what else says how far rounding moves the array
    independent    how many roundings of about one size the error is made of at least: that many images and weights
    """
    found, exact = (np.asarray(array, np.float64).ravel() for array in (found, exact))
    length = float(np.linalg.norm(exact))
    unit = max(length, rounding) or 1.0  # what errors are stated in shares of
    error, explained = found - exact, [np.asarray(array, np.float64).ravel() - exact for array in unfused]
    bound = FACTOR * float(np.max([rounding, *(np.linalg.norm(difference) for difference in explained)]))
    comparisons = [Comparison(name, "distance", float(np.linalg.norm(error)) / unit, bound / unit)]
    if length > 0 and bound > ALONG * length:
        along, *usual = (abs(float(difference @ exact)) / length for difference in (error, *explained))
        bound = max(FACTOR * max(rounding, *usual), bound / math.sqrt(min(independent, exact.size)), ALONG * length)
        comparisons.append(Comparison(name, "along", along / unit, bound / unit))
    return comparisons


def compare_change(name: str, before: Any, found: Any, exact: Any, tolerance: float) -> Comparison:
    """Compare how an update changed an array of float32 with how float64 changes it by the same gradients.

    tolerance   of the change, relative; besides, every element is rounded to float32
    """
    before, found, exact = (np.asarray(array, np.float64).ravel() for array in (before, found, exact))
    change, rounding = float(np.linalg.norm(exact - before)), 2.0**-23 * float(np.linalg.norm(exact))
    unit = max(change, rounding) or 1.0
    return Comparison(
        name, "distance", float(np.linalg.norm(found - exact)) / unit, (tolerance * change + rounding) / unit
    )
