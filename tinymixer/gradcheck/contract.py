"""The contract of a forward and a backward: they only read what they are given, and give the same answer again.

It also compares float32 with float64: the dtype that goes in comes out, and the answer is as exact as float32 allows.
"""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from tinymixer.gradcheck.differences import output_size
from tinymixer.gradcheck.gradients import Settings
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.target import (
    CodeRaisedError,
    Target,
    WrongGradientsError,
    generator_for,
    random_cotangent,
)

ROUNDING = 1e-8  # how far two orders of summation may lie apart, of the output's or gradient's own size
ROUNDING_32 = 1e-4  # the same of a forward that computes in float32
ENOUGH_CALLS = 110  # of the backward, after which its answer is compared with the first
SMALL = 200  # elements of input and output: up to here so many calls cost little

Named = dict[str, np.ndarray]


def contract_rows(target: Target, settings: Settings) -> list[Row]:
    """The checks that every target shares. They need no numerical derivative and cost little."""
    generator = generator_for(settings.seed, "conduct")
    rows, y, cache, arrays = _forward_rows(target)
    if not np.isfinite(target.host_output(y)).all():
        return rows  # the gradient checks name the element; the rest could only repeat it
    dy = random_cotangent(target.base.shape, generator)
    rows += _backward_rows(target, dy, cache, arrays)
    rounding = ROUNDING_32 if target.only32 else ROUNDING
    same = settings.nondeterminism
    try:
        first, cache = said(target, dy)
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
    """Whether forward and backward give their first answer again after all the calls of a check."""
    check = "same answer later"
    dy = random_cotangent(target.base.shape, generator_for(settings.seed, "conduct"))
    first, cache = said(target, dy)
    size = target.base.size + sum(host.size for host in target.inputs.values())
    while target.backwards < ENOUGH_CALLS and size <= SMALL:
        target.gradients(dy, cache)
    later, _ = said(target, dy)
    wanted = first | {"y": target.base}
    note = f"after {target.backwards} backward passes forward or backward says something else"
    sizes = natural_sizes(target, dy, wanted)
    return closest_row(target, check, wanted, later, settings.nondeterminism, note, sizes)


def said(target: Target, dy: np.ndarray) -> tuple[Named, Any]:
    """The output and the gradients on the host by name, and the cache."""
    y, cache = target.forward(target.placed())
    return {"y": target.host_output(y), **target.gradients(dy, cache)}, cache


def _forward_rows(target: Target) -> tuple[list[Row], Any, Any, dict[str, Any]]:
    """Inputs and constants are only read; the output is an array of its own."""
    arrays = target.placed()
    given = {**arrays, **target.constants}
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
    """The backward only reads dy and the cache, returns arrays of its own, and draws no global random numbers."""
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
    owners |= {**arrays, **target.constants, **kept}
    aliases = []
    for name, gradient in gradients.items():  # of what went in, and of the gradients before it
        aliases += [f"that of {name} of {owner}" for owner, array in owners.items() if shares_memory(gradient, array)]
        owners[f"that of {name}"] = gradient
    rows.append(yes_no(target, "gradients own their memory", aliases, "a gradient is a view,"))
    rows.append(yes_no(target, "random state untouched", drew, "the backward draws from the process's"))
    return rows


def _global_random_state() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  what others draw from is looked at, not drawn from
    return {"np.random": (kind, np.asarray(keys).tobytes(), *rest), "random": random.getstate()}


def _again_row(target: Target, dy: np.ndarray, first: Named, sizes: dict[str, float], tolerance: float) -> Row:
    """The same input gives the same output and gradients, within the tolerance given (0: bit for bit)."""
    check = "same answer twice"
    second, cache = said(target, dy)
    note = "forward and backward said something else the second time"
    row = closest_row(target, check, first, second, tolerance, note, sizes)
    if not row.passed:
        return row
    again = target.gradients(dy, cache)
    once = {name: second[name] for name in again}
    other = closest_row(target, check, once, again, tolerance, "a second backward said other", sizes)
    return max(row, other, key=lambda one: one.error)


def _kept_row(target: Target, dy: np.ndarray) -> Row:
    """A later forward and backward, of other numbers, leave what was returned before unchanged."""
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
    """forward(A), forward(B), backward with A's cache: B, in training or not, must not change the answer."""
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
        return {"backwards": backwards, "transposed": lambda array: backwards(array, "F"), "gapped": gapped}

    def every_second(array: Any) -> Any:
        return target.place(np.repeat(to_host(array), 2, axis=0))[::2] if len(array.shape) else array

    return {"backwards": every_second}


def _strides_row(target: Target, dy: np.ndarray, first: Named, sizes: dict[str, float], rounding: float) -> Row:
    """Inputs and dy that are not contiguous, and a dy that was broadcast, give the same answer."""
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
    """The size of each gradient: its largest element, or |dy| |y| / |x|, the size without cancellation, if larger."""
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
    """The row for two sets of arrays that should be the same, within a tolerance relative to their size."""
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
                where=target.output_place(index)
                if name == "y"
                else place_of(_called(target, name), wanted.shape, index),
                expected=float(wanted.flat[index]),
                got=float(got[name].flat[index]),
                note=note if error > tolerance else "",
            )
    return worst


def yes_no(target: Target, check: str, culprits: list[str], note: str) -> Row:
    """The row of a check that either holds or does not: it fails where there are culprits."""
    if not culprits:
        return target.row(check, 0.0)
    return target.row(check, 1.0, where=culprits[0].split(" (")[0], note=f"{note} {', '.join(culprits)}")


FLOAT32_TOLERANCE = 2e-5  # hundreds of roundings of 2^-24, of the size of the output or gradient
NOISE = 1e6  # times the tolerance, 20: an error of 20 times the scatter of float32's errors nearby is allowed
NEARBY = (2.0**-21, 2.0**-21, 2.0**-17, 2.0**-13, 2.0**-10, 2.0**-8)  # relative distances of the inputs nearby


def precision_rows(wide: Target, narrow: Target, seed: int = 0) -> list[Row]:
    """Compare a target in float64 with the same in float32: the dtypes, and how far the numbers lie apart.

    Both get the same inputs, rounded to float32. Inputs nearby show how large rounding errors are here: at each of them
    rounding errors differ in sign and size, also the large ones of cancellation (two numbers of 4 whose difference is
    GELU(-4), a row of LayerNorm that is nearly constant). The error of a fault is the same at all of them.
    """
    if wide.only32:
        note = "the forward computes in float32 whatever goes in: compared with differences to three digits"
        return [wide.row("dtype kept", 0.0, note=note, applied=False)]
    generator = generator_for(seed, "precision")
    rounded = {name: _float32(host) for name, host in wide.inputs.items()}
    dy = _float32(random_cotangent(wide.base.shape, generator))
    try:
        with np.errstate(all="ignore"):
            came = narrow.answers(rounded, dy)
    except CodeRaisedError as error:
        return [wide.row("dtype kept", 0.0, applied=False, note=f"with float32 {error}")]
    # A number of plain Python has no dtype to keep: the loss of a course's `return float(loss)`.
    kept = {name: np.dtype(value.dtype) for name, value in came.items() if hasattr(value, "dtype")}
    leaks = [name for name, dtype in kept.items() if dtype != np.float32]
    kinds = ", ".join(f"{_called(wide, name)} in {kept[name]}" for name in leaks)
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
    found = [_float32_row(wide, rounded, dy, exact, errors, noise, typical, way) for way, errors in candidates]
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


def _float32_row(
    target: Target, inputs: Named, dy: np.ndarray, exact: Named, errors: Named, noise: Any, typical: float, way: str
) -> Row:
    """The worst distance between float32 and float64, relative to the size of the numbers and their noise."""
    sizes = {}
    for name, expected in exact.items():
        natural = typical
        if name in target.inputs:
            x_size = largest(inputs[name])
            natural = largest(dy) * typical / x_size if x_size else 0.0
        sizes[name] = max(largest(expected), natural) + NOISE * noise[name]
    got = {name: expected + errors[name] for name, expected in exact.items()}
    note = f"{way}arrays that are not contiguous, in float32" if way else ""
    return closest_row(target, "float32 against float64", exact, got, FLOAT32_TOLERANCE, note, sizes)
