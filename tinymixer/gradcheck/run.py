"""A whole check of one target: its gradients, its contract, float32, and other inputs than those given."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from tinymixer.gradcheck.contract import contract_rows, later_row
from tinymixer.gradcheck.gradients import Settings, gradient_rows, joint_row
from tinymixer.gradcheck.precision import precision_rows
from tinymixer.gradcheck.report import Coverage, Report, Row
from tinymixer.gradcheck.target import CodeRaisedError, Target, WrongGradientsError
from tinymixer.gradcheck.variations import varied_rows


def checked(
    target: Target,
    settings: Settings,
    narrow: Callable[[], Target] | None = None,
    more: Callable[[], Iterable[Row]] = tuple,
    around_narrow: Callable[[Target], AbstractContextManager] = lambda target: nullcontext(),
    joint: bool = False,
) -> Report:
    """The report on a target.

    narrow          makes the same target in float32, if it is to be compared
    more            further rows of the contract
    around_narrow   puts the float32 target in order for the time it is used
    joint           whether directions through all inputs at once are tried too
    """
    started = time.perf_counter()
    rows: list[Row] = []
    contract: list[Row] = []
    looked_at: list[Coverage] = []
    try:
        contract = contract_rows(target, settings)  # first: it finds out whether the forward writes into its inputs
        found, looked_at = gradient_rows(target, settings)
        rows += found
        if not looked_at:
            rows += contract
        else:
            rows += [joint_row(target, settings)] if joint else []
            rows += [_coverage_row(target, looked_at), *contract]
            contract = []
            rows += more()
            if narrow is not None:
                other = narrow()
                other.read_only = target.read_only
                with around_narrow(other):
                    rows += precision_rows(target, other, settings.seed)
            if all(row.passed for row in found):  # what is wrong at the inputs given need not be sought at others
                with np.errstate(all="ignore"):
                    rows += varied_rows(target, settings)
            rows.append(later_row(target, settings))
    except WrongGradientsError as error:
        rows = [target.row("gradients", float("nan"), note=str(error))]
    except CodeRaisedError as error:
        rows += [*contract, target.row("runs", float("nan"), note=str(error))]
    named = [replace(one, target=target.name) for one in looked_at]
    return Report(rows, time.perf_counter() - started, named)


def _coverage_row(target: Target, looked_at: list[Coverage]) -> Row:
    """What was looked at, as a row."""
    return target.row("coverage", 0.0, note="; ".join(one.sentence() for one in looked_at))
