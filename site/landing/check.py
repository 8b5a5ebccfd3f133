"""What the playground runs on the code that a visitor typed: in the browser by Pyodide, in the tests by Python.

The code stands in for `layer_norm_backward` of `tinymixer.ops.layer_norm`, and sees every name of that module.
"""

import copy
import traceback

import numpy as np

from tinymixer.analysis.checks_that_lie import NAIVE_CHECKS
from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.planted_faults import PlantedFault
from tinymixer.ops import layer_norm

NAME = "layer_norm_backward"
SHAPE = (2, 3, 4)  # (S, B, C)
(ONES_CHECK,) = (check for check in NAIVE_CHECKS if check.name == "fresh, dy of ones")


def inputs(generator):
    """x (S, B, C), scale (C,) and bias (C,), all random: with a scale of ones some mistakes do not show."""
    return generator.normal(size=SHAPE), generator.normal(size=SHAPE[-1]), generator.normal(size=SHAPE[-1])


def verdict(source):
    """A dict of what to say: "passed", "sentence", "details", and "ones", what a check with dy all ones says."""
    try:
        backward = compiled(source)
    except SyntaxError as error:
        return said(f"Python cannot read line {error.lineno}: {error.msg}.")
    except (Exception, SystemExit) as error:
        return said(f"The code does not run: {type(error).__name__}: {error} ({place(error)}).")
    if backward is None:
        return said(f"There is no function {NAME} in the code. Keep its first line as it was.")
    try:
        report = check_operation(layer_norm.layer_norm_forward, backward, *inputs(np.random.default_rng(0)), name=NAME)
    except (Exception, SystemExit) as error:
        return said(f"The check could not be made: {error}")
    if report.passed:
        sentence = f"Right: {len(report.rows)} checks, worst relative error {report.worst_error:.1e}."
    elif not report.failures:
        sentence = str(report)
    else:
        sentence = report.failures[0].sentence()
    return {
        "passed": report.passed,
        "sentence": sentence,
        "details": f"{len(report.failures)} of {len(report.rows)} checks failed" if report.failures else "",
        "ones": with_ones(backward),
    }


def compiled(source):
    """The function that the code defines, with the module's other names around it; None where it defines none."""
    names = {name: value for name, value in vars(layer_norm).items() if name != NAME}
    exec(compile(source, "your code", "exec"), names)
    found = names.get(NAME)
    return found if callable(found) else None


def with_ones(backward):
    """What a gradient check says whose dy is all ones, on a fresh layer; "" where it cannot be made."""

    def on_copies(dy, cache):  # the check uses its arrays again for the next visitor's code
        return backward(*copy.deepcopy((dy, cache)))

    pair = layer_norm.layer_norm_forward, on_copies
    try:
        passes = ONES_CHECK.passes(PlantedFault(NAME, "layer_norm", "", *pair, inputs), 0)
    except (Exception, SystemExit):
        return ""
    return "right" if passes else "wrong"


def said(sentence):
    return {"passed": False, "sentence": sentence, "details": "", "ones": ""}


def place(error):
    """The line of the visitor's code at which an error arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "your code"]
    return f"line {lines[-1]}" if lines else "outside of your code"
