"""float32 beside float64: the dtype that goes in comes out, and the answer is as good as float32 allows."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import host_float64, largest, place_of
from tinymixer.gradcheck.contract import Named, layouts
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.scale import output_size
from tinymixer.gradcheck.target import CodeRaisedError, Target, dtype_of, is_plain_number, random_cotangent, stream

FLOAT32_TOLERANCE = 2e-5  # hundreds of roundings of 2^-24, of the size of the output or gradient
NOISE = 1e6  # what float32's errors are seen to scatter by counts so many times: twenty times that is allowed
NEARBY = (2.0**-21, 2.0**-21, 2.0**-17, 2.0**-13, 2.0**-10, 2.0**-8)  # how far the inputs are moved to see them scatter


def precision_rows(wide: Target, narrow: Target, seed: int = 0) -> list[Row]:
    """Compare a target in float64 with its twin in float32: dtypes, and how far the numbers lie apart.

    Both are given the same inputs, rounded to float32. How far float32 must be expected to be off here is seen at
    inputs nearby: rounding errors are of either sign and another size at each of them, the large ones of cancellation
    too (two numbers of 4 whose difference is GELU(-4), a row of LayerNorm that is nearly constant). What a fault adds
    is the same at all of them.
    """
    if wide.only32:
        note = "the forward computes in float32 whatever goes in: compared with differences to three digits"
        return [wide.row("dtype kept", 0.0, note=note, applied=False)]
    generator = stream(seed, "precision")
    rounded = {name: _float32(host) for name, host in wide.inputs.items()}
    dy = _float32(random_cotangent(wide.base.shape, generator))
    try:
        with np.errstate(all="ignore"):
            came = narrow.answers(rounded, dy)
    except CodeRaisedError as error:
        return [wide.row("dtype kept", 0.0, applied=False, note=f"with float32 {error}")]
    leaks = [name for name, value in came.items() if not is_plain_number(value) and dtype_of(value) != np.float32]
    kinds = ", ".join(f"{_called(wide, name)} in {dtype_of(came[name])}" for name in leaks)
    note = f"float32 went in, and came out: {kinds}" if leaks else ""
    where = _called(wide, leaks[0]) if leaks else ""
    rows = [wide.row("dtype kept", float(bool(leaks)), where=where, note=note)]
    exact, apart = _apart(wide, narrow, rounded, dy)
    beyond = float(np.finfo(np.float32).max)
    inner = max(largest(host) for host in rounded.values()) ** 2  # a square on the way
    if inner > beyond or not all((abs(array) <= beyond).all() for array in exact.values()):
        note = "the answers are beyond the numbers of float32"
        return [*rows, wide.row("float32 against float64", 0.0, applied=False, note=note)]
    scatter = {name: [error] for name, error in apart.items()}
    for distance in NEARBY:
        near = {name: _moved(host, distance, generator) for name, host in rounded.items()}
        with suppress(CodeRaisedError):  # beyond the edge of its domain
            for name, off in _apart(wide, narrow, near, _moved(dy, distance, generator))[1].items():
                scatter[name].append(off)
    noise = {name: _spread(errors) for name, errors in scatter.items()}
    # GELU of -4 is nearly 0 because two numbers of size 4 cancel, and float32 rounds those: an error beside 4, not 0.
    typical = max(output_size(wide, name) for name in wide.inputs)
    candidates = [("", apart)]
    candidates += [(f"{way}: ", _apart(wide, narrow, rounded, dy, lay)[1]) for way, lay in layouts(narrow).items()]
    found = [_distance_row(wide, rounded, dy, exact, errors, noise, typical, way) for way, errors in candidates]
    rows.append(max(found, key=lambda row: row.error))
    return rows


def _apart(
    wide: Target, narrow: Target, inputs: Named, dy: np.ndarray, lay_out: Callable[[Any], Any] = lambda array: array
) -> tuple[Named, Named]:
    """The answers in float64, and how far those in float32 lie from them."""
    with np.errstate(all="ignore"):
        exact, got = wide.answers(inputs, dy), narrow.answers(inputs, dy, lay_out)
        hosts = {name: host_float64(value) for name, value in exact.items()}
        return hosts, {name: host_float64(got[name]) - host for name, host in hosts.items()}


def _spread(errors: list[np.ndarray]) -> float:
    """The largest distance between the errors at two of the inputs, over all elements."""
    with np.errstate(all="ignore"):
        return largest(np.max(errors, axis=0) - np.min(errors, axis=0))


def _float32(host: np.ndarray) -> np.ndarray:
    return host.astype(np.float32).astype(np.float64)


def _moved(host: np.ndarray, distance: float, generator: np.random.Generator) -> np.ndarray:
    """Every element moved by about that part of itself, to a number that float32 has."""
    return _float32(host * (1 + distance * generator.uniform(-1, 1, host.shape)))


def _called(target: Target, name: str) -> str:
    """y for the output, dx for the gradient by x."""
    return f"d{name}" if name in target.inputs else name


def _distance_row(
    target: Target, inputs: Named, dy: np.ndarray, exact: Named, errors: Named, noise: Any, typical: float, way: str
) -> Row:
    """The worst distance between float32 and float64, relative to the size of the numbers and their noise."""
    check, tolerance = "float32 against float64", FLOAT32_TOLERANCE
    worst = target.row(check, 0.0, tolerance=tolerance)
    for name, expected in exact.items():
        if not expected.size:
            continue
        size = largest(expected)
        if name not in target.inputs:
            size = max(size, typical)
        elif largest(inputs[name]):
            size = max(size, largest(dy) * typical / largest(inputs[name]))
        apart = np.where(np.isfinite(errors[name]), abs(errors[name]), np.inf)
        index = int(np.argmax(apart))
        allowance = size + NOISE * noise[name]
        error = float(apart.flat[index]) / allowance if apart.flat[index] else 0.0
        if error > worst.error:
            worst = target.row(
                check,
                error,
                tolerance=tolerance,
                where=place_of(_called(target, name), expected.shape, index),
                expected=float(expected.flat[index]),
                got=float(expected.flat[index] + errors[name].flat[index]),
                note=f"{way}arrays that are not contiguous, in float32" if way and error > tolerance else "",
            )
    return worst
