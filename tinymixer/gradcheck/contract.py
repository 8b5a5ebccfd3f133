"""The contract of a forward and a backward: they only read what they are given, and give the same answer again.

It also compares float32 with float64: the dtype that goes in comes out, and the answer is as exact as float32 allows.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from tinymixer.gradcheck.arrays import (
    Named,
    changed,
    copies,
    frozen,
    hosts,
    largest,
    layouts,
    named_arrays,
    shares_memory,
)
from tinymixer.gradcheck.comparison import closest_row
from tinymixer.gradcheck.differences import output_size
from tinymixer.gradcheck.report import Row, worst
from tinymixer.gradcheck.target import (
    CodeRaisedError,
    CodeUnderTestError,
    Settings,
    Target,
    Trial,
    generator_for,
    named_outputs,
    natural_sizes,
)

PURPOSE = "contract"
ENOUGH_CALLS = 110  # of the backward, after which its answer is compared with the first
SMALL = 200  # elements of input and output: up to here so many calls cost little


def contract_rows(target: Target, settings: Settings) -> Iterator[Row]:
    """The checks that every target shares. They need no numerical derivative and cost little."""
    arrays = target.placed()
    given = {**arrays, **target.constants}
    before = copies(given)

    def with_writable_arrays() -> tuple[Any, Any]:
        target.read_only = False  # it is told; everything else is checked with arrays that can be written into
        arrays.update(target.placed())
        given.update(arrays)
        return target.forward(arrays)

    (y, cache), wrote = _reading(lambda: target.forward(arrays), with_writable_arrays, "an input")
    yield target.holds("inputs untouched", wrote or changed(before, given), "the forward writes into")
    outputs = named_outputs(y).values()
    target.only32 = target.place(np.zeros(1)).dtype == np.float64 and all(
        getattr(array, "dtype", None) == np.float32 for array in outputs
    )
    aliases = [name for array in outputs for name, value in given.items() if shares_memory(array, value)]
    yield target.holds("output owns its memory", aliases, "the output is a view of")
    if not np.isfinite(target.base).all():
        return  # the gradient checks name the element; the rest could only repeat it
    dy = generator_for(settings.seed, PURPOSE).standard_normal(target.base.size)
    yield from _backward_rows(target, dy, cache, given)
    try:
        trial = Trial(target, settings, PURPOSE)
    except CodeRaisedError as error:
        yield target.row("same answer twice", 1.0, note=f"the second time {error}")
        return
    for check, rows in CHECKS.items():
        try:
            yield worst(rows(trial, check))
        except CodeUnderTestError as error:
            yield target.row(check, 1.0, note=str(error))


def _backward_rows(target: Target, dy: np.ndarray, cache: Any, given: dict[str, Any]) -> Iterator[Row]:
    """The backward only reads dy and the cache, returns arrays of its own, and draws no global random numbers."""
    placed, writable = target.cotangent(dy, frozen), target.cotangent(dy)
    kept = named_arrays(cache, "cache")
    before, state = copies({**given, **kept}), _global_random_state()
    gradients, touched = _reading(
        lambda: target.backward(placed, cache), lambda: target.backward(writable, cache), "dy or an input"
    )
    drew = [name for name, now in _global_random_state().items() if state[name] != now]
    owners = named_arrays(writable if touched else placed, "dy")
    if not touched and changed(copies(named_arrays(target.cotangent(dy), "dy")), owners):
        touched.append("dy")
    spoilt = changed(before, {**given, **kept})
    touched += ["an input of the forward"] * any(name in given for name in spoilt)
    yield target.holds("dy untouched", touched, "the backward writes into")
    spoilt = [name for name in spoilt if name in kept]
    yield target.holds("cache untouched", spoilt, "the backward writes into its cache,")
    owners |= {**given, **kept}
    aliases = []
    for name, gradient in gradients.items():  # of what went in, and of the gradients before it
        aliases += [f"{name} of {owner}" for owner, array in owners.items() if shares_memory(gradient, array)]
        owners[name] = gradient
    yield target.holds("gradients own their memory", aliases, "a gradient is a view,")
    yield target.holds("random state untouched", drew, "the backward draws from the process's")


def _reading(call: Callable[[], Any], again: Callable[[], Any], what: str) -> tuple[Any, list[str]]:
    """What a call with read-only arrays gives. Where it writes into one, that is said, and it is called again."""
    try:
        return call(), []
    except CodeRaisedError as error:
        if not error.wrote_into_read_only:
            raise
        return again(), [f"{what} ({error.error})"]


def _global_random_state() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  what others draw from is looked at, not drawn from
    return {"np.random": (kind, np.asarray(keys).tobytes(), *rest), "random": random.getstate()}


def _row(trial: Trial, check: str, expected: Named, got: Named, tolerance: float, note: str) -> Row:
    """The row for answers that should be those expected, relative to the size of such numbers."""
    return closest_row(trial.target, check, expected, got, tolerance, note, trial.sizes)


def _twice_rows(trial: Trial, check: str) -> Iterator[Row]:
    """The same input gives the same output and gradients, within the tolerance given (0: bit for bit)."""
    target, allowed = trial.target, trial.settings.nondeterminism
    answers, cache = target.answers(trial.dy)
    second = hosts(answers)
    yield _row(trial, check, trial.first, second, allowed, "the second call gives another answer")
    again = hosts(target.backward(target.cotangent(trial.dy), cache))
    yield _row(trial, check, {n: second[n] for n in again}, again, allowed, "a second backward gives another gradient")


def _kept_rows(trial: Trial, check: str) -> Iterator[Row]:
    """A later forward and backward, of other numbers, leave what was returned before unchanged."""
    target = trial.target
    results, _ = target.answers(trial.dy)
    before = copies(results)
    _, cache = target.forward(target.placed())
    with suppress(CodeRaisedError):
        _, cache = target.forward(_other_inputs(target))
    target.backward(target.cotangent(-0.5 * trial.dy), cache)
    note = "the next forward or backward overwrites what was returned before,"
    yield target.holds(check, changed(before, results), note)


def _stale_cache_rows(trial: Trial, check: str) -> Iterator[Row]:
    """forward(A), forward(B), backward with A's cache: B, in training or not, must not change the answer."""
    target, refused = trial.target, None
    _, cache = target.forward(target.placed())
    for mode in target.modes:
        target.mode = mode
        try:
            target.forward(_other_inputs(target))
        except CodeRaisedError as error:
            refused = error
    target.mode = target.modes[0]
    if refused and len(target.modes) == 1:
        yield target.row(check, 0.0, applied=False, note=f"the forward takes no other values here ({refused})")
        return
    after, note = hosts(target.backward(target.cotangent(trial.dy), cache)), "a second forward changes the gradients"
    yield _row(trial, check, {n: trial.first[n] for n in after}, after, trial.settings.nondeterminism, note)


def _linearity_rows(trial: Trial, check: str) -> Iterator[Row]:
    """A backward pass is linear in dy, be it small or large, and backward(0) = 0."""
    nothing = trial.gradients(np.zeros(trial.dy.shape))
    nonzero = [name[1:] for name, gradient in nothing.items() if not np.all(gradient == 0)]
    if nonzero:
        yield trial.target.holds(check, nonzero, "backward(0) is not 0 for")
        return
    other = trial.generator.standard_normal(trial.dy.size)
    separate, together = trial.gradients(other), trial.gradients(trial.dy - 2 * other)
    expected = {name: trial.first[name] - 2 * gradient for name, gradient in separate.items()}
    sizes = {name: trial.sizes[name] + 2 * largest(gradient) for name, gradient in separate.items()}
    note = "backward(a dy + b other) is not a backward(dy) + b backward(other)"
    yield closest_row(trial.target, check, expected, together, trial.rounding, note, sizes)
    for factor in (2.0**20, 2.0**-20):  # exact in binary, so that nothing is rounded otherwise
        scaled = {name: gradient / factor for name, gradient in trial.gradients(factor * trial.dy).items()}
        note = f"backward(a dy) is not a backward(dy) for a = {factor:.0e}"
        yield _row(trial, check, {name: trial.first[name] for name in scaled}, scaled, trial.rounding, note)


def _strides_rows(trial: Trial, check: str) -> Iterator[Row]:
    """Inputs and dy that are not contiguous, and a dy that was broadcast, give the same answer."""
    target, dy = trial.target, trial.dy
    example = target.place(np.zeros(1))
    ways = list(layouts(example).values())
    for lay_out, lay_out_dy in zip(ways, [*ways[1:], ways[0]], strict=True):  # each in another way than the other
        got = hosts(target.answers(dy, lay_out, lay_out_dy)[0])
        yield _row(trial, check, trial.first, got, trial.rounding, "strided arrays give another answer")
    shape = target.outputs.get("y", ())
    if shape and isinstance(example, np.ndarray):
        _, cache = target.forward(target.placed())
        for repeated in (dy.reshape(shape)[:1], dy[:1]):  # the gradient of a sum over the first axis, or all
            wanted = hosts(target.backward(target.cotangent(np.broadcast_to(repeated, shape).ravel()), cache))
            spread = np.broadcast_to(target.place(repeated), shape)  # its strides are 0 there
            note = "a dy that was broadcast, with strides of 0, gives another answer"
            yield _row(trial, check, wanted, hosts(target.backward(spread, cache)), trial.rounding, note)


CHECKS: dict[str, Callable[[Trial, str], Iterator[Row]]] = {
    "same answer twice": _twice_rows,
    "results kept": _kept_rows,
    "stale cache": _stale_cache_rows,
    "linear in dy": _linearity_rows,
    "any strides": _strides_rows,
}


def later_row(target: Target, settings: Settings) -> Row:
    """Whether forward and backward give their first answer again after all the calls of a check."""
    trial = Trial(target, settings, PURPOSE)
    size = target.base.size + sum(host.size for host in target.inputs.values())
    while target.backwards < ENOUGH_CALLS and size <= SMALL:
        trial.gradients(trial.dy)
    later, wanted = hosts(target.answers(trial.dy)[0]), trial.first | target.split(target.base)
    note = f"after {target.backwards} backward passes the same call gives another answer"
    return _row(trial, "same answer later", wanted, later, settings.nondeterminism, note)


def _other_inputs(target: Target) -> dict[str, Any]:
    """Other values of the same kind: reversed and made smaller, so that what must be positive stays so."""
    return {name: target.place(0.7 * np.flip(target.inputs[name])) for name in target.passed}


FLOAT32_TOLERANCE = 2e-5  # hundreds of roundings of 2^-24, of the size of the output or gradient
NOISE = 1e6  # times the tolerance, 20: an error of 20 times the scatter of float32's errors nearby is allowed
NEARBY = (2.0**-21, 2.0**-21, 2.0**-17, 2.0**-13, 2.0**-10, 2.0**-8)  # relative distances of the inputs nearby


def precision_rows(wide: Target, narrow: Target, seed: int = 0) -> Iterator[Row]:
    """Compare a target in float64 with the same in float32: the dtypes, and how far the numbers lie apart.

    Both get the same inputs, rounded to float32. Inputs nearby show how large rounding errors are here: at each of them
    rounding errors differ in sign and size, also the large ones of cancellation (two numbers of 4 whose difference is
    GELU(-4), a row of LayerNorm that is nearly constant). The error of a fault is the same at all of them.
    """
    if wide.only32:
        note = "the forward computes in float32 whatever goes in: compared with differences to three digits"
        yield wide.row("dtype kept", 0.0, note=note, applied=False)
        return
    generator, check = generator_for(seed, "precision"), "float32 against float64"
    dy = _float32(generator.standard_normal(wide.base.size))
    rounded = {name: _float32(host) for name, host in wide.inputs.items()}
    # GELU of -4 is nearly 0 because two numbers of size 4 cancel, and float32 rounds those: an error beside 4, not 0.
    output = max(output_size(wide, name) for name in wide.inputs)
    with narrow.put_back(), np.errstate(all="ignore"):
        with wide.at(rounded), narrow.at(rounded):
            try:
                came, _ = narrow.answers(dy)
            except CodeRaisedError as error:
                yield wide.row("dtype kept", 0.0, applied=False, note=f"with float32 {error}")
                return
            # A number of plain Python has no dtype to keep: the loss of a course's `return float(loss)`.
            dtypes = {name: str(getattr(array, "dtype", "float32")) for name, array in came.items()}
            leaks = [f"{name} ({dtype})" for name, dtype in dtypes.items() if dtype != "float32"]
            yield wide.holds("dtype kept", leaks, "float32 went in, and came out:")
            exact, square = hosts(wide.answers(dy)[0]), max(map(largest, rounded.values())) ** 2  # on the way
            if not all((abs(array) <= np.finfo(np.float32).max).all() for array in (*exact.values(), np.array(square))):
                yield wide.row(check, 0.0, applied=False, note="the answers are beyond the numbers of float32")
                return
            sizes = natural_sizes(wide, dy, exact, output)
            ways = layouts(narrow.place(dy)).items()
            others = {f"{way}: ": hosts(narrow.answers(dy, lay_out)[0]) for way, lay_out in ways}
        got = {"": hosts(came)} | others
        errors = {name: [got[""][name] - array] for name, array in exact.items()}
        for distance in NEARBY:
            near = {name: _moved(host, distance, generator) for name, host in rounded.items()}
            near_dy = _moved(dy, distance, generator)
            with suppress(CodeRaisedError), wide.at(near), narrow.at(near):  # beyond the edge of its domain
                there, narrowly = hosts(wide.answers(near_dy)[0]), hosts(narrow.answers(near_dy)[0])
                errors = {name: [*before, narrowly[name] - there[name]] for name, before in errors.items()}
        # The scatter of the errors: the largest distance between those at two of the inputs, over all elements.
        sizes = {name: size + NOISE * largest(np.ptp(errors[name], axis=0)) for name, size in sizes.items()}
        notes = {way: f"{way}arrays that are not contiguous, in float32" if way else "" for way in got}
        yield worst(closest_row(wide, check, exact, got[way], FLOAT32_TOLERANCE, notes[way], sizes) for way in got)


def _float32(host: np.ndarray) -> np.ndarray:
    return host.astype(np.float32).astype(np.float64)


def _moved(host: np.ndarray, distance: float, generator: np.random.Generator) -> np.ndarray:
    """Every element moved by about that part of itself, to a number that float32 has."""
    return _float32(host * (1 + distance * generator.uniform(-1, 1, host.shape)))
