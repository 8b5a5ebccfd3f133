"""The contract of a forward and a backward, beside their numbers: they write into nothing, and say the same twice."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    backwards,
    changed,
    copies,
    frozen,
    gapped,
    host_float64,
    identical,
    largest,
    named_arrays,
    place_of,
    shares_memory,
    to_host,
)
from tinymixer.gradcheck.gradients import Settings
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.target import CodeRaisedError, Target, WrongGradientsError, random_cotangent, stream

ROUNDING = 1e-8  # how far two orders of summation may lie apart, of the output's or gradient's own size
ROUNDING_32 = 1e-4  # the same of a forward that computes in float32
ENOUGH_CALLS = 110  # of the backward, before it is asked whether it still says the same
SMALL = 200  # elements of input and output, up to which so many calls cost nothing

Named = dict[str, np.ndarray]


def contract_rows(target: Target, settings: Settings) -> list[Row]:
    """The checks that every target shares. They need no numerical derivative and cost little."""
    generator = stream(settings.seed, "conduct")
    rows, y, cache, arrays = _forward_rows(target)
    if not np.isfinite(target.host_output(y)).all():
        return rows  # the gradient checks name the element; the rest could only repeat it
    dy = random_cotangent(target.base.shape, generator)
    rows += _backward_rows(target, dy, cache, arrays)
    rounding = ROUNDING_32 if target.only32 else ROUNDING
    same = settings.nondeterminism
    try:
        y, cache = target.forward(target.placed())
        first = {"y": target.host_output(y), **target.gradients(dy, cache)}
        sizes = {"y": largest(first["y"]), **natural_sizes(target, dy, first)}
    except CodeRaisedError as error:
        return [*rows, target.row("same answer twice", 1.0, note=f"the second time {error}")]
    checks: list[tuple[str, Callable[[], Row]]] = [
        ("same answer twice", lambda: _again_row(target, dy, first, sizes, same)),
        ("results kept", lambda: _kept_row(target, dy)),
        ("stale cache", lambda: _stale_cache_row(target, dy, sizes, same)),
        ("linear in dy", lambda: _linearity_row(target, dy, cache, first, sizes, generator, rounding)),
        ("any strides", lambda: _strides_row(target, dy, first, sizes, rounding)),
    ]
    for check, made in checks:
        try:
            rows.append(made())
        except (CodeRaisedError, WrongGradientsError) as error:
            rows.append(target.row(check, 1.0, note=str(error)))
    return rows


def later_row(target: Target, settings: Settings) -> Row:
    """Whether, after all the calls of a check, the backward still says what it said to begin with."""
    check = "same answer later"
    dy = random_cotangent(target.base.shape, stream(settings.seed, "conduct"))
    y, cache = target.forward(target.placed())
    first = target.gradients(dy, cache)
    size = target.base.size + sum(host.size for host in target.inputs.values())
    while target.backwards < ENOUGH_CALLS and size <= SMALL:
        target.gradients(dy, cache)
    y, cache = target.forward(target.placed())
    later = {"y": target.host_output(y), **target.gradients(dy, cache)}
    wanted = {"y": target.base, **first}
    note = f"after {target.backwards} backward passes forward or backward says something else"
    sizes = natural_sizes(target, dy, wanted)
    return closest_row(target, check, wanted, later, settings.nondeterminism, note, sizes)


def _forward_rows(target: Target) -> tuple[list[Row], Any, Any, dict[str, Any]]:
    """Inputs and constants are only read; the output is an array of its own."""
    arrays = target.placed()
    given = {**arrays, **target.constants()}
    before = copies(given)
    try:
        y, cache = target.forward(arrays)
    except CodeRaisedError as error:
        if not error.wrote_into_read_only:
            raise
        rows = [target.row("inputs untouched", 1.0, note=f"the forward writes into an input ({error.error})")]
        target.read_only = False  # it is told; everything else is checked with arrays it can write into
        arrays = target.placed()
        y, cache = target.forward(arrays)
    else:
        rows = [yes_no(target, "inputs untouched", changed(before, given), "the forward writes into")]
    target.only32 = target.place(np.zeros(1)).dtype == np.float64 and all(
        getattr(array, "dtype", None) == np.float32 for array in target.outputs(y).values()
    )
    outputs = target.outputs(y)
    aliases = [name for array in outputs.values() for name, value in given.items() if shares_memory(array, value)]
    rows.append(yes_no(target, "output owns its memory", aliases, "the output is a view of"))
    return rows, y, cache, arrays


def _backward_rows(target: Target, dy: np.ndarray, cache: Any, arrays: dict[str, Any]) -> list[Row]:
    """dy and the cache are only read; gradients are arrays of their own; nobody else's random numbers are drawn."""
    placed = target.cotangent(dy, frozen)
    kept = named_arrays(cache, "cache")
    cache_before, inputs_before = copies(kept), copies(arrays)
    touched: list[str] = []
    state = _global_random_state()
    try:
        gradients = target.backward(placed, cache)
    except CodeRaisedError as error:
        if not error.wrote_into_read_only:
            raise
        touched.append(f"dy or an input ({error.error})")
        placed = target.cotangent(dy)
        gradients = target.backward(placed, cache)
    drew = [name for name, old in state.items() if _global_random_state()[name] != old]
    owners = named_arrays(placed, "dy")
    if not touched and changed(copies(named_arrays(target.cotangent(dy), "dy")), owners):
        touched.append("dy")
    if changed(inputs_before, arrays):
        touched.append("an input of the forward")
    rows = [
        yes_no(target, "dy untouched", touched, "the backward writes into"),
        yes_no(target, "cache untouched", changed(cache_before, kept), "the backward writes into its cache,"),
    ]
    owners |= {**arrays, **target.constants(), **kept}
    aliases = [
        f"that of {name} of {owner}"
        for name, gradient in gradients.items()
        for owner, array in owners.items()
        if shares_memory(gradient, array)
    ]
    named = list(gradients.items())
    aliases += [
        f"that of {name} of that of {other}"
        for i, (name, gradient) in enumerate(named)
        for other, another in named[:i]
        if shares_memory(gradient, another)
    ]
    rows.append(yes_no(target, "gradients own their memory", aliases, "a gradient is a view,"))
    rows.append(yes_no(target, "random state untouched", drew, "the backward draws from the process's"))
    return rows


def _global_random_state() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  what others draw from is looked at, not drawn from
    return {"np.random": (kind, np.asarray(keys).tobytes(), *rest), "random": random.getstate()}


def _again_row(target: Target, dy: np.ndarray, first: Named, sizes: dict[str, float], tolerance: float) -> Row:
    """The same input gives the same output and gradients: bit for bit, or up to the last bits that were allowed."""
    check = "same answer twice"
    y, cache = target.forward(target.placed())
    second = {"y": target.host_output(y), **target.gradients(dy, cache)}
    note = "forward and backward said something else the second time"
    row = closest_row(target, check, first, second, tolerance, note, sizes)
    if not row.passed:
        return row
    again = target.gradients(dy, cache)
    once = {name: second[name] for name in again}
    other = closest_row(target, check, once, again, tolerance, "a second backward said other", sizes)
    return max(row, other, key=lambda one: one.error)


def _kept_row(target: Target, dy: np.ndarray) -> Row:
    """What was returned stays as it is when forward and backward are called again, with other numbers."""
    y, cache = target.forward(target.placed())
    results = {
        **target.outputs(y),
        **{f"d{name}": g for name, g in target.backward(target.cotangent(dy), cache).items()},
    }
    before = copies(results)
    try:
        _, cache = target.forward(_other_inputs(target))
    except CodeRaisedError:
        _, cache = target.forward(target.placed())
    target.backward(target.cotangent(-0.5 * dy), cache)
    spoilt = changed(before, results)
    return yes_no(target, "results kept", spoilt, "the next forward or backward overwrites what was returned before,")


def _stale_cache_row(target: Target, dy: np.ndarray, sizes: dict[str, float], tolerance: float) -> Row:
    """forward(A), forward(B), backward with A's cache: B must leave no trace, in whatever mode it is run."""
    check = "stale cache"
    _, cache = target.forward(target.placed())
    alone = target.gradients(dy, cache)
    _, cache = target.forward(target.placed())
    refused = None
    for other in target.other_forwards():
        try:
            other(_other_inputs(target))
        except CodeRaisedError as error:
            refused = error
    if refused and len(target.other_forwards()) == 1:
        return target.row(check, 0.0, applied=False, note=f"the forward takes no other values here ({refused})")
    after = target.gradients(dy, cache)
    note = "a second forward changes the first one's gradients"
    return closest_row(target, check, alone, after, tolerance, note, sizes)


def _linearity_row(
    target: Target,
    dy: np.ndarray,
    cache: Any,
    first: Named,
    sizes: dict[str, float],
    generator: np.random.Generator,
    rounding: float,
) -> Row:
    """A backward pass is linear in dy, be it small or large, and backward(0) = 0."""
    check = "linear in dy"
    nothing = target.gradients(np.zeros(dy.shape), cache)
    nonzero = [name for name, gradient in nothing.items() if not np.all(gradient == 0)]
    if nonzero:
        return yes_no(target, check, nonzero, "backward(0) is not 0 for")
    other = random_cotangent(dy.shape, generator)
    separate = target.gradients(other, cache)
    expected = {name: first[name] - 2 * gradient for name, gradient in separate.items()}
    together = target.gradients(dy - 2 * other, cache)
    both = {name: sizes[name] + 2 * largest(separate[name]) for name in separate}
    note = "backward(a dy + b other) falls apart"
    rows = [closest_row(target, check, expected, together, rounding, note, both)]
    for factor in (2.0**20, 2.0**-20):  # exact in binary, so that nothing is rounded otherwise
        scaled = {name: gradient / factor for name, gradient in target.gradients(factor * dy, cache).items()}
        wanted = {name: first[name] for name in scaled}
        note = f"backward(a dy) is not a backward(dy) for a = {factor:.0e}"
        rows.append(closest_row(target, check, wanted, scaled, rounding, note, sizes))
    return max(rows, key=lambda row: row.error)


def layouts(target: Target) -> dict[str, Callable[[Any], Any]]:
    """Ways to lay an array out in memory: transposed and backwards, and with gaps; as far as its library can."""
    if isinstance(target.place(np.zeros(1)), np.ndarray):
        return {
            "backwards": backwards,
            "transposed": lambda array: backwards(array, "F"),
            "gapped": gapped,
        }

    def every_second(array: Any) -> Any:
        return target.place(np.repeat(to_host(array), 2, axis=0))[::2] if len(array.shape) else array

    return {"backwards": every_second}


def _strides_row(target: Target, dy: np.ndarray, first: Named, sizes: dict[str, float], rounding: float) -> Row:
    """Inputs and dy that are not contiguous, or one number broadcast, change nothing."""
    check, rows = "any strides", []
    ways = list(layouts(target).values())
    for lay_out, lay_out_dy in zip(ways, [*ways[1:], ways[0]], strict=True):  # each in another way than the other
        y, cache = target.forward({name: lay_out(target.place(target.inputs[name])) for name in target.passed})
        named = target.backward(target.cotangent(dy, lay_out_dy), cache)
        got = {"y": target.host_output(y), **{name: host_float64(gradient) for name, gradient in named.items()}}
        rows.append(closest_row(target, check, first, got, rounding, "strided arrays give another answer", sizes))
    if isinstance(target.place(np.zeros(1)), np.ndarray) and target.parts is None and dy.ndim:
        _, cache = target.forward(target.placed())
        for repeated in (dy[:1], dy.ravel()[:1]):  # the gradient of a sum over the first axis, or all
            spread = np.broadcast_to(repeated, dy.shape)  # its strides are 0 there
            wanted = target.gradients(np.array(spread), cache)
            placed = np.broadcast_to(target.place(repeated), dy.shape)
            named = {name: host_float64(gradient) for name, gradient in target.backward(placed, cache).items()}
            note = "a dy that was broadcast, with strides of 0, gives another answer"
            rows.append(closest_row(target, check, wanted, named, rounding, note, sizes))
    return max(rows, key=lambda row: row.error)


def natural_sizes(target: Target, dy: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How large each gradient is, or would be without cancellation: |dy| |y| / |x|."""
    sizes = {}
    for name in target.inputs:
        x_size = largest(target.inputs[name])
        natural = largest(dy) * largest(target.base) / x_size if x_size else 0.0
        sizes[name] = max(largest(answers[name]), natural)
    return sizes


def _other_inputs(target: Target) -> dict[str, Any]:
    """Other values of the same kind: reversed and made smaller, so that what must be positive stays so."""
    hosts = {name: target.inputs[name] for name in target.passed}
    return {n: target.place(0.7 * host[tuple(slice(None, None, -1) for _ in host.shape)]) for n, host in hosts.items()}


def closest_row(
    target: Target,
    check: str,
    expected: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    tolerance: float,
    note: str,
    sizes: dict[str, float] | None = None,
) -> Row:
    """The row for two sets of arrays that should be the same, up to a tolerance of their size."""
    worst = target.row(check, 0.0, tolerance=tolerance)
    for name, wanted in expected.items():
        if not wanted.size or identical(wanted, got[name]):
            continue
        apart = abs(got[name] - wanted)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        index = int(np.argmax(apart))
        size = max((sizes or {}).get(name, 0.0), largest(wanted), largest(got[name]))
        error = float(apart.flat[index]) / size if size else 0.0
        if error > worst.error:
            worst = target.row(
                check,
                error,
                tolerance=tolerance,
                where=target.output_place(index) if name == "y" else place_of(f"d{name}", wanted.shape, index),
                expected=float(wanted.flat[index]),
                got=float(got[name].flat[index]),
                note=note if error > tolerance else "",
            )
    return worst


def yes_no(target: Target, check: str, culprits: list[str], note: str) -> Row:
    """The row of a check that only knows yes and no."""
    if not culprits:
        return target.row(check, 0.0)
    return target.row(check, 1.0, where=culprits[0].split(" (")[0], note=f"{note} {', '.join(culprits)}")
