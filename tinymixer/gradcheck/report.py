"""What a gradient check found: a row for each thing looked at, a table for people, plain rows for programs."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from tinymixer.errors import TinymixerError


class GradientCheckError(TinymixerError, AssertionError):
    """A gradient is wrong; the message names the worst element, what was expected and what was got."""


class NotCheckableError(TinymixerError, TypeError):
    """What was given to the checker is nothing it can check; the message says what it needs."""


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
        return {
            "name": self.name,
            "shape": list(self.shape),
            "check": self.check,
            "error": _for_json(self.error),
            "tolerance": self.tolerance,
            "passed": self.passed,
            "verdict": self.verdict,
            "where": self.where,
            "expected": _for_json(self.expected),
            "got": _for_json(self.got),
            "note": self.note,
        }


@dataclass
class Report:
    """All rows of one or several checks. `print(report)` shows the table, `report.raise_if_failed()` is for tests."""

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether something was checked and every row passed."""
        return bool(self.rows) and not self.failures

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
        if not self.rows:
            raise GradientCheckError("nothing was checked: the report has no rows.")
        failures = self.failures
        if failures:
            more = f" ({len(failures)} of {len(self.rows)} checks failed)"
            raise GradientCheckError(failures[0].sentence() + more)
        return self

    def merged(self, others: Iterable["Report"]) -> "Report":
        """A report with these rows and those of the others."""
        everyone = [self, *others]
        return Report([row for one in everyone for row in one.rows], sum(one.seconds for one in everyone))

    def table(self, details: bool = False) -> str:
        """The table as text: a line for each thing checked and each failure, or with `details` one for each check."""
        lines = [("what", "shape", "worst error", "where", "verdict")]
        for (name, shape), group in groupby(self.rows, key=lambda row: (row.name, row.shape)):
            lines += _lines(name, str(shape), list(group), details)
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        text = [
            f"{what:<{widths[0]}}  {shape:<{widths[1]}}  {error:>{widths[2]}}  {where:<{widths[3]}}  {verdict}".rstrip()
            for what, shape, error, where, verdict in lines
        ]
        text.insert(1, "-" * max(len(line) for line in text))
        return "\n".join([*text, self._summary()])

    def __str__(self) -> str:
        return self.table()

    def _summary(self) -> str:
        """The last line of the table, and a sentence for each failure."""
        failures = self.failures
        time = f" in {self.seconds:.1f} s" if self.seconds else ""
        counted = f"{len(self.rows)} checks{time}, worst gradient error {self.worst_error:.1e}"
        if not self.rows:
            return "nothing was checked"
        if not failures:
            return f"all passed: {counted}"
        sentences = "".join(f"\n  {row.sentence()}" for row in failures[:10])
        more = f"\n  and {len(failures) - 10} more" if len(failures) > 10 else ""
        return f"{len(failures)} FAILED: {counted}{sentences}{more}"


# The checks that compare a gradient with a numerical derivative.
GRADIENT_CHECKS = frozenset({"jacobian", "random cotangent", "elements", "directions", "complex step"})


def _lines(name: str, shape: str, rows: list[Row], details: bool) -> list[tuple[str, str, str, str, str]]:
    """The lines of the table for one thing checked."""
    compared = [row for row in rows if row.check in GRADIENT_CHECKS and row.applied] or rows
    worst = max(compared, key=_badness)
    verdict = "pass" if all(row.passed for row in rows) else "FAIL"
    lines = [(name, shape, f"{worst.error:.1e}", worst.where, verdict)]
    for row in rows:
        if details or not row.passed:
            error = f"{row.error:.1e}" if row.applied else ""
            lines.append((f"  {row.check}", "", error, row.where, row.verdict))
    return lines


def _badness(row: Row) -> tuple[bool, bool, float]:
    """Sort key: failures last, a gradient's error after a conduct's, NaN after every number."""
    return (not row.passed, row.check in GRADIENT_CHECKS, math.inf if math.isnan(row.error) else row.error)


def _for_json(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None
