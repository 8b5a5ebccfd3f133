"""The whole check of one target: its gradients, its contract, float32, and other inputs than those given.

Some mistakes cannot be seen at the inputs given: a symmetric weight, a batch of two or numbers near 1 hide them. So the
target is checked at variations of its inputs too, along a few directions through all inputs at once. A variation that
the forward refuses, or at which it has no derivative, is marked n/a. A variation that fails is a fault: the note says
at which inputs the backward is wrong.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from tinymixer.gradcheck.comparison import SETTLED
from tinymixer.gradcheck.contract import contract_rows, later_row, precision_rows
from tinymixer.gradcheck.gradients import gradient_rows, joint_row
from tinymixer.gradcheck.report import Coverage, Report, Row
from tinymixer.gradcheck.target import (
    CodeRaisedError,
    CodeUnderTestError,
    Settings,
    Target,
    WrongGradientsError,
    generator_for,
    moved,
)

CHEAP = 20_000  # elements of all inputs and the output, up to which variations are tried by themselves
DIRECTIONS = 2  # of each variation of the values; one where shapes change
NOWHERE = "the forward has no finite value or no derivative there"

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def checked(
    target: Target, settings: Settings, narrow: Callable[[], Target] | None = None, joint: bool = False
) -> Report:
    """The report on a target.

    narrow   makes the same target in float32, to be compared with this one
    joint    whether directions through all inputs at once are tried too
    """
    started = time.perf_counter()
    rows: list[Row] = []
    contract: list[Row] = []
    looked_at: list[Coverage] = []
    try:
        contract += contract_rows(target, settings)  # first: it finds out whether the forward writes into its inputs
        found, looked_at = gradient_rows(target, settings)
        rows += found
        if looked_at:
            rows += [joint_row(target, settings)] if joint else []
            rows.append(target.row("coverage", 0.0, note="; ".join(one.sentence() for one in looked_at)))
        rows += contract
        contract = []
        if looked_at:
            rows += target.own_rows(settings)
            if narrow is not None:
                rows += precision_rows(target, narrow(), settings.seed)
            if all(row.passed for row in found):  # what is wrong at the inputs given need not be sought at others
                with np.errstate(all="ignore"):
                    rows += varied_rows(target, settings)
            rows.append(later_row(target, settings))
    except WrongGradientsError as error:
        rows = [target.row("gradients", float("nan"), note=str(error))]
    except CodeRaisedError as error:
        rows += [*contract, target.row("runs", float("nan"), note=str(error))]
    return Report(rows, time.perf_counter() - started, looked_at)


def _larger(host: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.asarray(host * 2.0 ** generator.uniform(1, 4, host.shape))


def _with_zeros(host: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A fourth of the elements, and one at least of several, is 0; but no whole row or column, whose norm is 0."""
    zeros = generator.random(host.shape) < 0.25
    for axis in range(host.ndim):
        if host.shape[axis] > 1:
            zeros &= ~zeros.all(axis=axis, keepdims=True)
    if host.size > 1 and not zeros.any():
        zeros.flat[generator.integers(host.size)] = True
    return np.where(zeros, 0.0, host)


VALUES: dict[str, tuple[Draw, str]] = {
    "inputs moved": (moved, "moved at random by up to half their size"),
    "inputs larger": (_larger, "made 2 to 16 times as large"),
    "zeros among inputs": (_with_zeros, "with some elements 0"),
}


def varied_rows(target: Target, settings: Settings) -> Iterator[Row]:
    """A row for each variation, marked n/a where the forward has nothing to say there."""
    size = target.base.size + sum(host.size for host in target.inputs.values())
    if settings.vary is False or (settings.vary is None and size > CHEAP) or target.only32:
        return
    for check, (draw, how) in VALUES.items():
        generator = generator_for(settings.seed, check)
        fresh = {name: draw(host, generator) for name, host in target.inputs.items() if target.varies(name)}
        with target.at(fresh):
            note = f"right at the inputs given, wrong with these {how}"
            yield _row_there(target, target, settings, check, note)
    first = next(iter(target.inputs.values())).shape
    if first and first[0] > 1:
        yield _resized_row(target, settings, "batch of one", first[0], 1)
    if first and first[-1] % 2 == 0:
        yield _resized_row(target, settings, "odd size", first[-1], first[-1] - 1)


def _resized_row(target: Target, settings: Settings, check: str, old: int, new: int) -> Row:
    """The first way of cutting the axes that gives an output whose axes, or the first of that size, are cut alike."""
    shape = target.outputs.get("y", ())  # of several outputs none is cut
    wanted = [tuple(new if size == old else size for size in shape)]
    if old in shape:
        first = shape.index(old)
        wanted.append((*shape[:first], new, *shape[first + 1 :]))
    for other in target.resized(old, new):
        other.read_only = target.read_only
        with suppress(CodeUnderTestError):
            if other.base.size and other.outputs.get("y") in wanted:
                note = f"right at the shapes given, wrong where an axis of {old} is {new}"
                return _row_there(target, other, settings, check, note, shapes_fit=old in shape)
    return target.row(check, 0.0, applied=False, note="the forward takes no such inputs")


def _row_there(
    target: Target, other: Target, settings: Settings, check: str, note: str, shapes_fit: bool = True
) -> Row:
    """The row of one variation. It fails only where two checks with different random numbers fail."""
    silent = target.row(check, 0.0, applied=False, note=NOWHERE)
    try:
        if not np.isfinite(other.base).all():
            return silent
    except CodeUnderTestError:
        return silent
    seen: list[float] = []
    for i in range(DIRECTIONS if other is target else 1):
        for purpose in (check, f"{check}, again"):
            try:
                row = joint_row(other, settings, purpose, DIRECTIONS, only=i)
            except CodeUnderTestError as error:
                # The axis may be summed over, or the forward may hold an array of the former size: then the checker
                # cannot know what else should have been cut.
                former = [host.shape for host in target.inputs.values()]
                if isinstance(error, WrongGradientsError) and (not shapes_fit or error.got in former):
                    return silent
                return target.row(check, float("nan"), tolerance=settings.tolerance, note=f"{note}: {error}")
            if row.passed:
                seen.append(row.error)
                break
            nothing = row.note == SETTLED or row.expected is None or not np.isfinite(row.expected)
            # The deviation of a batch of one is 0: a gradient that divides by it is right for every other batch.
            if nothing or (other is not target and row.got is not None and not np.isfinite(row.got)):
                break
        else:
            return replace(row, name=target.name, shape=target.shape, check=check, note=note)
    return target.row(check, max(seen), tolerance=settings.tolerance) if seen else silent
