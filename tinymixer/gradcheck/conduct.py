"""How an operation behaves, beside what it computes: writes into nothing, keeps nothing, says the same twice."""

from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    REFUSALS,
    arrays_in,
    frozen,
    host_float64,
    identical,
    largest,
    place_of,
    shares_memory,
    snapshot,
    strided,
    to_host,
)
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.subject import Subject, random_cotangent, stream

ROUNDING = 1e-8  # how far two orders of summation may lie apart, of the output's or gradient's own size

Named = dict[str, np.ndarray]


def conduct_rows(subject: Subject, seed: int = 0) -> list[Row]:
    """The checks of behaviour that every subject shares. They need no numerical derivative and cost little."""
    generator = stream(seed, "conduct")
    arrays = subject.placed()
    before = snapshot(arrays)
    rows = []
    try:
        y, cache = subject.forward(arrays)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        rows.append(subject.row("inputs untouched", 1.0, note=f"the forward writes into an input ({error})"))
        subject.read_only = False  # it is told; everything else is checked with arrays it can write into
        arrays = subject.placed()
        y, cache = subject.forward(arrays)
    else:
        changed = [n for n, old, new in zip(arrays, before, snapshot(arrays), strict=True) if not identical(old, new)]
        rows.append(_yes_no(subject, "inputs untouched", changed, "the forward writes into"))
    aliases = [name for name, array in arrays.items() if shares_memory(y, array)]
    rows.append(_yes_no(subject, "output owns its memory", aliases, "the output is a view of"))
    if not np.isfinite(host_float64(y)).all():
        return rows  # the gradient checks name the element; the rest could only repeat it
    dy = random_cotangent(np.shape(y), generator)
    rows += _backward_rows(subject, dy, cache, arrays)
    first = subject.gradients(dy, cache)
    rows.append(_determinism_row(subject, dy, host_float64(y), first))
    rows.append(_stale_cache_row(subject, dy))
    rows.append(_linearity_row(subject, dy, cache, host_float64(y), first, generator))
    rows.append(_strides_row(subject, dy, host_float64(y), first))
    return rows


def _backward_rows(subject: Subject, dy: np.ndarray, cache: Any, arrays: dict[str, Any]) -> list[Row]:
    """dy and the cache are only read; a second call says the same; the gradients are arrays of their own."""
    placed = frozen(subject.place(dy))
    cache_before, inputs_before = snapshot(cache), snapshot(arrays)
    touched: list[str] = []
    try:
        gradients = subject.backward(placed, cache)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        touched.append(f"dy or an input ({error})")
        placed = subject.place(dy)
        gradients = subject.backward(placed, cache)
    if not touched and not identical(to_host(placed), to_host(subject.place(dy))):
        touched.append("dy")
    if not all(identical(old, new) for old, new in zip(inputs_before, snapshot(arrays), strict=True)):
        touched.append("an input of the forward")
    rows = [_yes_no(subject, "dy untouched", touched, "the backward writes into")]
    unlike = [
        index
        for index, (old, new) in enumerate(zip(cache_before, snapshot(cache), strict=True))
        if not identical(old, new)
    ]
    rows.append(
        _yes_no(subject, "cache untouched", [f"array {i}" for i in unlike], "the backward writes into its cache,")
    )
    owners = {"dy": placed, **arrays, **{f"array {i} of the cache": a for i, a in enumerate(arrays_in(cache))}}
    aliases = [
        f"that of {name} of {owner}"
        for name, gradient in gradients.items()
        for owner, array in owners.items()
        if shares_memory(gradient, array)
    ]
    rows.append(_yes_no(subject, "gradients own their memory", aliases, "a gradient is a view,"))
    return rows


def _determinism_row(subject: Subject, dy: np.ndarray, y: np.ndarray, gradients: Named) -> Row:
    """The same input gives the same output and gradients, bit for bit."""
    second, cache = subject.forward(subject.placed())
    apart = _differing({"y": y, **gradients}, {"y": host_float64(second), **subject.gradients(dy, cache)})
    again = _differing(gradients, subject.gradients(dy, cache)) if not apart else []
    note = "forward and backward said something else the second time:" if apart else "a second backward said other:"
    return _yes_no(subject, "same answer twice", apart or again, note)


def _stale_cache_row(subject: Subject, dy: np.ndarray) -> Row:
    """forward(A), forward(B), backward with A's cache: B must leave no trace."""
    check = "stale cache"
    _, cache = subject.forward(subject.placed())
    alone = subject.gradients(dy, cache)
    _, cache = subject.forward(subject.placed())
    others = {name: _another_input(subject.inputs[name]) for name in subject.passed}
    try:
        subject.forward({name: subject.place(host) for name, host in others.items()})
    except REFUSALS as error:
        return subject.row(check, 0.0, applied=False, note=f"the forward takes no other values here ({error})")
    after = subject.gradients(dy, cache)
    return _closest_row(subject, check, alone, after, 0.0, "a second forward changes the first one's gradients")


def _linearity_row(
    subject: Subject, dy: np.ndarray, cache: Any, y: np.ndarray, gradients: Named, generator: np.random.Generator
) -> Row:
    """A backward pass is linear in dy: backward(0) = 0, backward(dy - 2 other) = backward(dy) - 2 backward(other)."""
    check = "linear in dy"
    nothing = subject.gradients(np.zeros(dy.shape), cache)
    nonzero = [name for name, gradient in nothing.items() if not np.all(gradient == 0)]
    if nonzero:
        return _yes_no(subject, check, nonzero, "backward(0) is not 0 for")
    other = random_cotangent(dy.shape, generator)
    separate = subject.gradients(other, cache)
    expected = {name: gradient - 2 * separate[name] for name, gradient in gradients.items()}
    together = subject.gradients(dy - 2 * other, cache)
    natural = natural_sizes(subject, dy, y, gradients)
    sizes = {name: size + 2 * largest(separate[name]) for name, size in natural.items()}
    return _closest_row(subject, check, expected, together, ROUNDING, "backward(a dy + b other) falls apart", sizes)


def _strides_row(subject: Subject, dy: np.ndarray, y: np.ndarray, gradients: Named) -> Row:
    """Inputs and dy that are not contiguous, and do not lie in memory in the same order, change nothing."""
    expected = {"y": y, **gradients}
    sizes = {"y": largest(y), **natural_sizes(subject, dy, y, gradients)}
    rows = []
    for transposed in (False, True):
        arrays = {name: _strided_like(subject, subject.inputs[name], transposed) for name in subject.passed}
        second, cache = subject.forward(arrays)
        named = subject.backward(_strided_like(subject, dy, not transposed), cache)
        got = {"y": host_float64(second), **{name: host_float64(gradient) for name, gradient in named.items()}}
        note = "strided arrays give another answer"
        rows.append(_closest_row(subject, "any strides", expected, got, ROUNDING, note, sizes))
    return max(rows, key=lambda row: row.error)


def _strided_like(subject: Subject, host: np.ndarray, transposed: bool) -> Any:
    """A strided copy in the subject's array library and dtype: one of another library is cut out of a larger array."""
    placed = subject.place(host)
    if isinstance(placed, np.ndarray):
        return strided(placed, transposed)
    return subject.place(np.repeat(host, 2, axis=0))[::2] if host.ndim else placed


def natural_sizes(subject: Subject, dy: np.ndarray, y: np.ndarray, gradients: Named) -> dict[str, float]:
    """How large each gradient is, or would be without cancellation: |dy| |y| / |x|."""
    sizes = {}
    for name, gradient in gradients.items():
        x_size = largest(subject.inputs[name])
        sizes[name] = max(largest(gradient), largest(dy) * largest(y) / x_size if x_size else 0.0)
    return sizes


def _another_input(host: np.ndarray) -> np.ndarray:
    """Other values of the same kind: reversed and made smaller, so that what must be positive stays so."""
    return 0.7 * host[tuple(slice(None, None, -1) for _ in host.shape)]


def _differing(first: Named, second: Named) -> list[str]:
    return [name for name in first if not identical(first[name], second[name])]


def _closest_row(
    subject: Subject,
    check: str,
    expected: Named,
    got: Named,
    tolerance: float,
    note: str,
    sizes: dict[str, float] | None = None,
) -> Row:
    """The row for two sets of arrays that should be the same, up to a tolerance of their size."""
    worst = subject.row(check, 0.0, tolerance=tolerance)
    for name, wanted in expected.items():
        apart = abs(got[name] - wanted)
        if not apart.size:
            continue
        apart = np.where(np.isfinite(apart), apart, np.inf)
        index = int(np.argmax(apart))
        size = max((sizes or {}).get(name, 0.0), largest(wanted), largest(got[name]))
        error = float(apart.flat[index]) / size if size else 0.0
        if error > worst.error:
            worst = subject.row(
                check,
                error,
                tolerance=tolerance,
                where=place_of(name if name == "y" else f"d{name}", wanted.shape, index),
                expected=float(wanted.flat[index]),
                got=float(got[name].flat[index]),
                note=note if error > tolerance else "",
            )
    return worst


def _yes_no(subject: Subject, check: str, culprits: list[str], note: str) -> Row:
    """The row of a check that only knows yes and no."""
    if not culprits:
        return subject.row(check, 0.0)
    return subject.row(check, 1.0, where=culprits[0].split(" (")[0], note=f"{note} {', '.join(culprits)}")
