"""The report: a table for people, rows for programs, a sentence for a failed test."""

import json

import numpy as np
import pytest

from tinymixer.errors import TinymixerError
from tinymixer.gradcheck import GradientCheckError, Report, Row, check_operation

GOOD = Row("square", (2, 3), "jacobian", 2e-12, 1e-6, "y[0, 1] by x[0, 1]", 1.0, 1.0)
BAD = Row("cube", (4,), "random cotangent", 0.25, 1e-6, "x[3]", 1.0, 0.75)
NAN = Row("root", (1,), "random cotangent", float("nan"), 1e-6, "x[0]", 1.0, float("nan"))
SKIPPED = Row("square", (2, 3), "complex step", 0.0, note="not analytic here", applied=False)


def test_nan_and_infinity_are_failures_never_passes():
    assert not NAN.passed
    assert not Row("root", (1,), "jacobian", float("inf"), 1e-6).passed
    assert not Report([GOOD, NAN]).passed
    assert np.isnan(Report([GOOD, NAN]).worst_error)


def test_a_report_without_rows_has_not_passed():
    assert not Report().passed
    with pytest.raises(GradientCheckError, match="nothing was checked"):
        Report().raise_if_failed()
    assert "nothing was checked" in str(Report())


def test_the_table_has_a_line_for_each_thing_and_says_what_failed():
    text = str(Report([GOOD, SKIPPED, BAD], seconds=1.5))
    lines = text.splitlines()
    assert lines[0].split() == ["what", "shape", "worst", "error", "where", "verdict"]
    assert len({line.index("verdict") if "verdict" in line else None for line in lines[:1]}) == 1
    assert "square" in lines[2]
    assert lines[2].endswith("pass")
    assert "2.0e-12" in lines[2]
    assert lines[3].startswith("cube")
    assert lines[3].endswith("FAIL")
    assert "1 FAILED: 3 checks in 1.5 s" in text
    assert "cube (4,), random cotangent, at x[3]: expected 1, got 0.75: relative error 0.25, allowed 1e-06" in text
    assert all(line == line.rstrip() for line in lines)


def test_the_detailed_table_has_a_line_for_each_check():
    text = Report([GOOD, SKIPPED]).table(details=True)
    assert "complex step" in text
    assert "n/a" in text
    assert "complex step" not in str(Report([GOOD, SKIPPED]))


def test_rows_are_plain_json():
    report = Report([GOOD, NAN, SKIPPED])
    rows = report.to_rows()
    assert json.loads(report.to_json()) == rows
    assert rows[0]["name"] == "square"
    assert rows[0]["shape"] == [2, 3]
    assert rows[0]["error"] == 2e-12
    assert rows[0]["passed"] is True
    assert rows[1]["error"] is None
    assert rows[1]["passed"] is False


def test_a_failed_report_raises_an_error_that_names_the_worst_element():
    with pytest.raises(GradientCheckError, match=r"root .* at x\[0\].*2 of 3 checks failed") as caught:
        Report([GOOD, BAD, NAN]).raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, TinymixerError)
    report = Report([GOOD])
    assert report.raise_if_failed() is report


def test_a_real_failure_names_expected_and_got():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])

    def backward(dy, x):
        dx = 2 * x * dy
        dx[1, 0] *= 1.5
        return dx

    report = check_operation(lambda x: (x * x, x), backward, x, name="square")
    with pytest.raises(GradientCheckError, match=r"y\[1, 0\] by x\[1, 0\]: expected 6, got 9: relative error 0.33"):
        report.raise_if_failed()


def test_reports_are_merged_in_order():
    merged = Report([GOOD], 1.0).merged([Report([BAD], 2.0), Report([NAN], 3.0)])
    assert merged.rows == [GOOD, BAD, NAN]
    assert merged.seconds == 6.0
