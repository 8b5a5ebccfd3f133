"""What a gradient check found: a row for each check, as a table for people and as plain rows for programs."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from tinymixer.errors import TinymixerError


class GradientCheckError(TinymixerError, AssertionError):
    """A gradient is wrong; the message names the worst element, what was expected and what was got."""


class NotCheckableError(TinymixerError, TypeError):
    """The checker cannot check what it was given; the message says what it needs."""


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    name       what was checked: the operation, layer or model
    shape      the shape of its first input
    check      which check this row is: "jacobian", "random cotangent", "stale cache", ...
    error      the worst relative error found (see `tinymixer.gradcheck` for the definition); for a check that only
               knows yes and no it is 0 or 1. NaN where something was not a number: that is a failure
    tolerance  the largest error that passes
    where      the element with that error, such as "x[1, 0, 3]"
    expected, got   the numbers there, where there are such
    note       a sentence: why the check failed, or why it could not be made
    applied    False for a check that does not apply here (complex step through a function that is not analytic)
    """

    name: str
    shape: tuple[int, ...]
    check: str
    error: float
    tolerance: float = 0.0
    where: str = ""
    expected: float | None = None
    got: float | None = None
    note: str = ""
    applied: bool = True

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance. NaN never is."""
        return not self.applied or self.error <= self.tolerance

    @property
    def verdict(self) -> str:
        """ "pass", "FAIL", or "n/a" for a check that does not apply."""
        if not self.applied:
            return "n/a"
        return "pass" if self.passed else "FAIL"

    def sentence(self) -> str:
        """What this row found, for a message."""
        text = f"{self.name} {self.shape}, {self.check}"
        if self.where:
            text += f", at {self.where}"
        if self.expected is not None and self.got is not None:
            text += f": expected {self.expected:.10g}, got {self.got:.10g}"
        if self.tolerance and not math.isnan(self.error):
            text += f": relative error {self.error:.2g}, allowed {self.tolerance:.0e}"
        return text + (f": {self.note}" if self.note else "")

    def to_dict(self) -> dict[str, object]:
        """The row as plain values for JSON. A number that JSON cannot hold (NaN, infinity) becomes None."""
        plain = {key: getattr(self, key) for key in IN_JSON} | {"shape": list(self.shape)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}


IN_JSON = ("name", "shape", "check", "error", "tolerance", "passed", "verdict", "where", "expected", "got", "note")


@dataclass(frozen=True)
class Coverage:
    """How much of one input was looked at.

    name, shape   of the input or parameter
    elements      how many of its elements were compared one by one
    directions    random directions through all of it, besides
    parameter     whether it is a parameter that the layer keeps, not an input that is passed
    target        what it is an input of
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    directions: int
    parameter: bool = False
    target: str = ""

    def sentence(self) -> str:
        """Such as "x (3, 4): 12 of 12 elements", or "parameter weight (40, 30): 16 of 1,200 elements, 6 directions"."""
        kind = "parameter " if self.parameter else ""
        along = f", {self.directions} directions" if self.directions else ""
        count = math.prod(self.shape)
        return f"{kind}{self.name} {self.shape}: {self.elements:,} of {count:,} element{'s' * (count != 1)}{along}"


@dataclass
class Report:
    """All rows of one or several checks. `print(report)` shows the table, `report.raise_if_failed()` is for tests.

    checked   what was looked at: every input and parameter, how many elements and directions
    """

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    checked: list[Coverage] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether a gradient was compared with a numerical one, and every row passed."""
        return self.compared and not self.failures

    @property
    def compared(self) -> bool:
        """Whether there was a gradient to compare at all."""
        return any(row.check in GRADIENT_CHECKS and row.applied for row in self.rows)

    @property
    def not_checked(self) -> list[Row]:
        """What was found that is not understood: rows that say what was left out."""
        return [row for row in self.rows if row.check == "parameters" and row.note]

    @property
    def failures(self) -> list[Row]:
        """The rows that failed, the worst first."""
        return sorted((row for row in self.rows if not row.passed), key=_badness, reverse=True)

    @property
    def worst_error(self) -> float:
        """The largest error of the comparisons with numerical derivatives: how exact the gradients were seen to be."""
        errors = [row.error for row in self.rows if row.check in GRADIENT_CHECKS and row.applied]
        return math.nan if any(math.isnan(error) for error in errors) else max(errors, default=0.0)

    def to_rows(self) -> list[dict[str, object]]:
        """A list of plain dicts with `name`, `shape`, `error`, `passed`, `check`, `where` and more, ready for JSON."""
        return [row.to_dict() for row in self.rows]

    def to_json(self) -> str:
        """The rows as JSON text."""
        return json.dumps(self.to_rows(), indent=2, allow_nan=False)

    def raise_if_failed(self) -> "Report":
        """Return the report itself, or raise GradientCheckError naming the worst element of what failed."""
        if self.failures:
            more = f" ({len(self.failures)} of {len(self.rows)} checks failed)"
            raise GradientCheckError(self.failures[0].sentence() + more)
        if not self.compared:
            raise GradientCheckError(NOTHING)
        return self

    def merged(self, others: Iterable["Report"]) -> "Report":
        """A report with these rows and those of the others."""
        both = [self, *others]
        checked = [entry for one in both for entry in one.checked]
        return Report([row for one in both for row in one.rows], sum(one.seconds for one in both), checked)

    def table(self, details: bool = False) -> str:
        """The table as text: a line for each thing checked and each failure, or with `details` one for each check."""
        lines = [("what", "shape", "worst error", "verdict", "where")]
        for (name, shape), group in groupby(self.rows, key=lambda row: (row.name, row.shape)):
            lines += _lines(name, str(shape), list(group), details)
        width = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = "{:<{w[0]}}  {:<{w[1]}}  {:>{w[2]}}  {:<{w[3]}}  {}"
        text = [shown.format(*line, w=width).rstrip() for line in lines]
        text.insert(1, "-" * max(map(len, text)))
        return "\n".join([*text, self._summary()])

    def __str__(self) -> str:
        return self.table()

    def _summary(self) -> str:
        """The last lines of the table: how it came out, a sentence for each failure, and what was looked at."""
        failures = self.failures
        if not failures and not self.compared:
            return NOTHING
        verdict = f"{len(failures)} FAILED" if failures else "all passed"
        time = f" in {self.seconds:.1f} s" if self.seconds else ""
        said = [f"{verdict}: {len(self.rows)} checks{time}, worst gradient error {self.worst_error:.1e}"]
        said += [row.sentence() for row in failures[:10]]
        said += [f"and {len(failures) - 10} more"] if len(failures) > 10 else []
        left_out = dict.fromkeys(f"not checked: {row.name}: {row.note}" for row in self.not_checked)
        return "\n  ".join([*said, *self._looked_at(), *[*left_out][:10]])

    def _looked_at(self) -> list[str]:
        """What was checked: every input of one target, how many of several."""
        checked = self.checked
        if len({one.target for one in checked}) == 1 and len(checked) <= 20:
            return [f"checked: {one.sentence()}" for one in checked]
        parameters, elements = sum(one.parameter for one in checked), sum(one.elements for one in checked)
        inputs = f"{len(checked) - parameters:,} inputs and {parameters:,} parameters"
        return [f"checked: {inputs}, {elements:,} elements one by one"] if checked else []


NOTHING = "nothing was checked: no gradient was compared, so nothing has passed"

# The checks that compare a gradient with a numerical derivative.
GRADIENT_CHECKS = frozenset({"jacobian", "random cotangent", "elements", "directions", "complex step"})


def _lines(name: str, shape: str, rows: list[Row], details: bool) -> list[tuple[str, str, str, str, str]]:
    """The lines of the table for one thing checked."""
    top = worst([row for row in rows if row.check in GRADIENT_CHECKS and row.applied] or rows)
    verdict = "pass" if all(row.passed for row in rows) else "FAIL"
    each = [
        (f"  {row.check}", "", f"{row.error:.1e}" if row.applied else "", row.verdict, row.where)
        for row in rows
        if details or not row.passed
    ]
    return [(name, shape, f"{top.error:.1e}", verdict, top.where), *each]


def worst(rows: Iterable[Row]) -> Row:
    """The worst of some rows, the first of several that are equally bad."""
    return max(rows, key=_badness)


def _badness(row: Row) -> tuple[bool, bool, float]:
    """Sort key: failures last, a gradient's error after a broken contract, NaN after every number."""
    return (not row.passed, row.check in GRADIENT_CHECKS, math.inf if math.isnan(row.error) else row.error)
