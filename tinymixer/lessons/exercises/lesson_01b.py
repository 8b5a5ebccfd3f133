"""Exercises of lesson 01b: the chain rule on ten scalars."""

import copy
import math

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.lessons.tape import Tape

# --- 1b.1 ---


def _functions_of_two(generator):
    """f, a, b, h: one to do by hand, one whose slopes are nearly alike, one with exp."""
    yield (lambda a, b: a * b * b), 3.0, 2.0, 1e-6
    yield (lambda a, b: a * a + 3 * b), float(generator.uniform(1, 2)), float(generator.uniform(1, 2)), 1e-6
    yield (lambda a, b: math.exp(a) / b), float(generator.normal()), float(generator.uniform(1, 2)), 1e-6


def _partials(f, a, b, h):
    return (f(a + h, b) - f(a, b)) / h, (f(a, b + h) - f(a, b)) / h


def _both_moved(f, a, b, h):
    slope = (f(a + h, b + h) - f(a, b)) / h
    return slope, slope


exercise(
    "1b.1",
    "Two partial derivatives",
    "my_partials",
    reference=_partials,
    cases=_functions_of_two,
    returns=("df_da", "df_db"),
    tolerance=1e-4,  # a difference to both sides is as right as one to the right
    mistakes=[
        Mistake(
            "Both numbers have moved at once, so this is the sum of the two slopes. Move one, and leave the other "
            "where it is.",
            _both_moved,
        ),
        Mistake(
            "The two are exchanged: the first is the slope when a moves and b stays.",
            lambda f, a, b, h: _partials(f, a, b, h)[::-1],
        ),
        Mistake(
            "This is how far f moves, not its slope. The slope is that, divided by how far a (or b) has moved.",
            lambda f, a, b, h: (f(a + h, b) - f(a, b), f(a, b + h) - f(a, b)),
        ),
        Mistake(
            "The sign is wrong: from the value after the step subtract the value before it.",
            lambda f, a, b, h: tuple(-slope for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "Half of what it should be: the two points lie h apart, not 2h.",
            lambda f, a, b, h: tuple(slope / 2 for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "Twice what it should be: with a step to each side, the two points lie 2h apart.",
            lambda f, a, b, h: tuple(2 * slope for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "Brackets are missing: Python divides before it subtracts, so only the second value was divided by h.",
            lambda f, a, b, h: (f(a + h, b) - f(a, b) / h, f(a, b + h) - f(a, b) / h),
        ),
    ],
)

# --- 1b.2 ---


def _two_tables(generator):
    """a (I, J), b (I, J): 2 x 3 whole numbers as in the text, a square, a single row."""
    yield np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 1.0]])
    for shape in ((3, 3), (1, 4)):
        yield generator.normal(size=shape), generator.normal(size=shape)


def _sums(a, b):
    return np.sum(a * b), np.sum(a * b, axis=0)


exercise(
    "1b.2",
    "A sum over two indices, and over one",
    "my_sums",
    reference=_sums,
    cases=_two_tables,
    returns=("total", "columns"),
    mistakes=[
        Mistake(
            "This is the sum of a times the sum of b. Multiply entry by entry first, then add up: the sum of products "
            "is not the product of sums.",
            lambda a, b: (a.sum() * b.sum(), a.sum(axis=0) * b.sum(axis=0)),
        ),
        Mistake(
            "total has only its last term, as total = leaves it where total += is meant. All terms add up.",
            lambda a, b: (a[-1, -1] * b[-1, -1], None),
        ),
        Mistake(
            "total is a matrix product, in which every row of a meets every row of b. Entry (i, j) of a meets entry "
            "(i, j) of b and no other.",
            lambda a, b: (np.sum(a @ b.T), None),
        ),
        Mistake(
            "The last row and the last column are left out: range(n) ends at n - 1 by itself.",
            lambda a, b: (np.sum((a * b)[:-1, :-1]), None),
        ),
        Mistake(
            "total is a mean: the sign of a sum divides by nothing.",
            lambda a, b: (np.mean(a * b), None),
        ),
        Mistake(
            "columns is summed over j, and has one number for each row. The index under the sign is i: it disappears, "
            "and j is left.",
            lambda a, b: (np.sum(a * b), np.sum(a * b, axis=1)),
        ),
        Mistake(
            "columns has only the last term of each sum. The terms of all rows add up (+=).",
            lambda a, b: (np.sum(a * b), a[-1] * b[-1]),
        ),
        Mistake(
            "columns is not summed at all: the index under the sign, i, is still there.",
            lambda a, b: (np.sum(a * b), a * b),
        ),
        Mistake(
            "columns adds up both indices. Only i stands under the sign; j is free, so there is one sum for each j.",
            lambda a, b: (np.sum(a * b), np.sum(a * b)),
        ),
    ],
)

# --- 1b.3 ---


def _one_path_inputs(generator):
    """x, w, b, t: the numbers of the text, then any."""
    yield 3.0, -2.0, 10.0, 20.0
    for _ in range(2):
        yield tuple(float(number) for number in generator.uniform(0.5, 2.0, size=4))


def _along(x, w, b, t):
    """The local slopes along s = w x + b, g = s s, e = g - t, L = e e: (dL/de, dg/ds)."""
    s = w * x + b
    return 2 * (s * s - t), 2 * s


def _one_path(x, w, b, t):
    outer, inner = _along(x, w, b, t)
    return outer * inner * x, outer * inner


def _with_outer_and_inner(slopes):
    return lambda x, w, b, t: slopes(*_along(x, w, b, t), x, w)


exercise(
    "1b.3",
    "Along one way",
    "my_slopes_of_one_way",
    reference=_one_path,
    cases=_one_path_inputs,
    returns=("dw", "db"),
    mistakes=[
        Mistake(
            "A step of the way is missing in the product: the one from s to s * s has a slope of its own.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * x, outer)),
        ),
        Mistake(
            "The last step is missing: L is e * e, and the slope of a square is not 1.",
            _with_outer_and_inner(lambda outer, inner, x, w: (inner * x, inner)),
        ),
        Mistake(
            "The squares have lost a factor of 2: s * s depends on s in both of its factors, and so does e * e.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner * x / 4, outer * inner / 4)),
        ),
        Mistake(
            "One of the two squares has lost a factor of 2: both s * s and e * e depend on their number twice.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner * x / 2, outer * inner / 2)),
        ),
        Mistake(
            "dw has no part from the product w * x: when w moves by h, how far does w * x move?",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner, outer * inner)),
        ),
        Mistake(
            "This is the slope with respect to x. In w * x, the local slope for w is the other factor.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner * w, outer * inner)),
        ),
        Mistake(
            "The local slopes are added. Along a way they are multiplied; only different ways are added.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer + inner + x, outer + inner + 1)),
        ),
        Mistake(
            "db has a factor too many: in w * x + b the local slope for b is 1.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner * x, outer * inner * x)),
        ),
        Mistake(
            "The sign is wrong everywhere. Is the error t minus the output, where the output minus t is meant?",
            _with_outer_and_inner(lambda outer, inner, x, w: (-outer * inner * x, -outer * inner)),
        ),
    ],
)

# --- 1b.4 ---


def _two_ways(x, w):
    return 1 + w * (1 - math.tanh(w * x) ** 2)


exercise(
    "1b.4",
    "Two ways",
    "my_slope_of_two_ways",
    reference=_two_ways,
    cases=lambda generator: [(0.5, 2.0), *(tuple(map(float, generator.normal(size=2))) for _ in range(2))],
    returns="dx",
    mistakes=[
        Mistake(
            "Only the way through tanh is counted. x also reaches y directly, and the ways add up.",
            lambda x, w: w * (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "Only the direct way is counted. x also reaches y through w * x and tanh, and the ways add up.",
            lambda x, w: 1.0,
        ),
        Mistake(
            "The way through tanh lacks its first step: when x moves by h, w * x moves by w times h.",
            lambda x, w: 1 + (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "The slope of tanh is taken at x. What goes into the tanh here is w * x.",
            lambda x, w: 1 + w * (1 - math.tanh(x) ** 2),
        ),
        Mistake(
            "The slope of tanh is 1 minus its *square*.",
            lambda x, w: 1 + w * (1 - math.tanh(w * x)),
        ),
        Mistake(
            "The slope of tanh is 1 - t * t with t the tanh, the number that came out, not the one that went in.",
            lambda x, w: 1 + w * (1 - (w * x) ** 2),
        ),
        Mistake(
            "This is y itself. Its slope with respect to x is asked for.",
            lambda x, w: x + math.tanh(w * x),
        ),
        Mistake(
            "This is the slope with respect to w: x is the one that moves here.",
            lambda x, w: x * (1 - math.tanh(w * x) ** 2),
        ),
    ],
)

# --- 1b.5 and 1b.6: the tape ---


def _operations(tape_class, a, b):
    """Numbers a and b at places 1 and 2 of a new tape, their product, a times itself, and the tanh of a.

    Each result with the ways that the tape has kept for it, added up over those from the same place.
    """
    tape = tape_class()
    tape.write(5.0)
    one, other = tape.write(a), tape.write(b)
    found = []
    for place, parts in (
        (tape.multiply(one, other), (one, other)),
        (tape.multiply(one, one), (one,)),
        (tape.tanh(one), (one,)),
    ):
        if not isinstance(place, int | np.integer) or not 0 <= place < len(tape.values):
            return (None if place is None else "no place on the tape", *[None] * 5)
        kept = tape.ways[place]
        slopes = [float(sum(slope for where, slope in kept if where == part)) for part in parts]
        found += [tape.values[place], np.array(slopes)]
    return tuple(found)


def _tape_with(**methods):
    return type("Tape", (Tape,), methods)


def _multiply(value, first, second):
    """A multiply that writes value(x, y) with the slopes first(x, y) and second(x, y)."""

    def multiply(self, a, b):
        x, y = self.values[a], self.values[b]
        return self.write(value(x, y), (a, first(x, y)), (b, second(x, y)))

    return multiply


def _tanh(slope):
    def tanh(self, a):
        t = math.tanh(self.values[a])
        return self.write(t, (a, slope(self.values[a], t)))

    return tanh


def _on_places(self, a, b):
    return self.write(a * b, (a, b), (b, a))


def _value_itself(self, a, b):
    return self.values[a] * self.values[b]


def _written_but_not_returned(self, a, b):
    Tape.multiply(self, a, b)


exercise(
    "1b.5",
    "A tape: local slopes",
    "MyTape",
    reference=Tape,
    cases=lambda generator: [(3.0, -2.0), *(tuple(map(float, generator.normal(size=2))) for _ in range(2))],
    returns=("product", "slopes_of_product", "square", "slope_of_square", "tanh", "slope_of_tanh"),
    call=_operations,
    mistakes=[
        Mistake(
            "multiply multiplies the places a and b. They only say where the numbers stand: those are self.values[a] "
            "and self.values[b].",
            _tape_with(multiply=_on_places),
        ),
        Mistake(
            "multiply writes the product down but does not return its place. self.write returns it: hand it on.",
            _tape_with(multiply=_written_but_not_returned),
        ),
        Mistake(
            "multiply returns the product itself, and nothing stands on the tape. Write it down with self.write, and "
            "return the place.",
            _tape_with(multiply=_value_itself),
        ),
        Mistake(
            "The value is the sum: this is add again.",
            _tape_with(multiply=_multiply(lambda x, y: x + y, lambda x, y: y, lambda x, y: x)),
        ),
        Mistake(
            "The two local slopes of the product are exchanged. When the first factor moves by h, the product moves by "
            "the *other* factor times h.",
            _tape_with(multiply=_multiply(lambda x, y: x * y, lambda x, y: x, lambda x, y: y)),
        ),
        Mistake(
            "The local slopes of the product are those of a sum. When a factor moves by h, the product moves by the "
            "other factor times h.",
            _tape_with(multiply=_multiply(lambda x, y: x * y, lambda x, y: 1.0, lambda x, y: 1.0)),
        ),
        Mistake(
            "The local slopes are the product itself. When one factor moves, what is its move multiplied by?",
            _tape_with(multiply=_multiply(lambda x, y: x * y, lambda x, y: x * y, lambda x, y: x * y)),
        ),
        Mistake(
            "tanh keeps a slope with the number that went in. 1 - t * t has t, the number that came out.",
            _tape_with(tanh=_tanh(lambda x, t: 1 - x * x)),
        ),
        Mistake("The slope of tanh is 1 minus its *square*.", _tape_with(tanh=_tanh(lambda x, t: 1 - t))),
        Mistake(
            "tanh keeps a slope of 1, as if it were a sum. Its slope is in the table of slopes.",
            _tape_with(tanh=_tanh(lambda x, t: 1.0)),
        ),
        Mistake("tanh keeps its value where its slope belongs.", _tape_with(tanh=_tanh(lambda x, t: t))),
    ],
)


def _tapes(generator):
    """tape, last: the ten numbers; a number used three times, and one beyond the last; a long tape at random."""
    tape = Tape()
    x, w, b, m = (tape.write(number) for number in (3.0, -2.0, 10.0, -20.0))
    s = tape.add(tape.multiply(w, x), b)
    e = tape.add(tape.add(tape.multiply(s, s), x), m)
    yield tape, tape.multiply(e, e)

    tape = Tape()
    x = tape.write(float(generator.uniform(0.5, 1.5)))
    unused = tape.write(2.0)
    once = tape.tanh(x)
    twice = tape.multiply(once, x)
    last = tape.add(twice, once)
    tape.multiply(last, unused)
    yield tape, last

    tape = Tape()
    for number in generator.uniform(-1, 1, size=4):
        tape.write(float(number))
    for _ in range(12):
        first, second = (int(place) for place in generator.integers(max(0, len(tape.values) - 4), len(tape.values), 2))
        [tape.add, tape.multiply][int(generator.integers(2))](first, second)
    yield tape, len(tape.values) - 1


def _go_back(backward, tape, last):
    """The slopes as an array, whether they came as a list, a tuple or an array; the tape is a copy."""
    slopes = backward(copy.deepcopy(tape), last)
    return np.array(slopes, dtype=float) if isinstance(slopes, list | tuple) else slopes


def _backward(*, first=1.0, add=True, order=reversed, upstream=None, start=None):
    """A backward pass with one thing changed."""

    def backward(tape, last):
        slopes = [0.0] * len(tape.values)
        begin = last if start is None else start(tape)
        slopes[begin] = first
        for place in order(range(begin + 1)):
            for part, local_slope in tape.ways[place]:
                arriving = (slopes[place] if upstream is None else upstream(tape, slopes, place)) * local_slope
                slopes[part] = slopes[part] + arriving if add else arriving
        return slopes

    return backward


def _without_the_local_slope(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, _ in tape.ways[place]:
            slopes[part] += slopes[place]
    return slopes


def _sum_of_both(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] + local_slope
    return slopes


def _loops_one_short(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last - 1, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
    return slopes


exercise(
    "1b.6",
    "Backward through the tape",
    "my_backward",
    reference=lambda tape, last: tape.backward(last),
    cases=_tapes,
    returns="slopes",
    call=_go_back,
    mistakes=[
        Mistake(
            "Everything is zero: nothing was put in at the end. What is the slope of the last number with respect to "
            "itself?",
            _backward(first=0.0),
        ),
        Mistake(
            "A number that is used twice keeps only one of its ways: a later one has overwritten the earlier (= where "
            "+= belongs). The ways add up.",
            _backward(add=False),
        ),
        Mistake(
            "The tape is read from front to back. A slope can only be handed on once it is complete: start at the last "
            "number.",
            _backward(order=iter),
        ),
        Mistake(
            "The local slope is multiplied by the number itself. What is handed on is that number's *slope*, times "
            "the local slope.",
            _backward(upstream=lambda tape, slopes, place: tape.values[place]),
        ),
        Mistake(
            "The local slopes are added up as they are. Each is multiplied by the slope of the number it leads to, "
            "which has arrived from behind.",
            _backward(upstream=lambda tape, slopes, place: 1.0),
        ),
        Mistake(
            "The local slopes are not used: what arrives is handed on unchanged. Along a way, multiply.",
            _without_the_local_slope,
        ),
        Mistake("Slope and local slope are added. Along a way they are multiplied.", _sum_of_both),
        Mistake(
            "Only the last number has a slope: the loop starts one place too late and never looks at the ways that "
            "lead into it.",
            _loops_one_short,
        ),
        Mistake(
            "It starts at the end of the tape. The slopes of the number at place `last` are asked for, and there may "
            "be others behind it.",
            _backward(start=lambda tape: len(tape.values) - 1),
        ),
        Mistake(
            "It starts with the last number itself, where its slope belongs: L with respect to L.",
            lambda tape, last: _backward(first=tape.values[last])(tape, last),
        ),
    ],
)

# --- 1b.7 ---


def _rows(generator):
    """dy (O,), x (I,), weight (I, O): small whole numbers, then as many outputs as inputs, then one output."""
    yield np.array([1.0, -2.0, 3.0]), np.array([2.0, 5.0]), np.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 1.0]])
    for inputs, outputs in ((3, 3), (4, 1)):
        yield generator.normal(size=outputs), generator.normal(size=inputs), generator.normal(size=(inputs, outputs))


def _row_backward(dy, x, weight):
    dx, dweight, dbias = ops.linear_backward(dy[None], (x[None], weight))
    return dx[0], dweight, dbias


exercise(
    "1b.7",
    "A row of arrays",
    "my_row_backward",
    reference=_row_backward,
    cases=_rows,
    returns=("dx", "dweight", "dbias"),
    mistakes=[
        Mistake(
            "dx has only its last term: x[i] reaches every output, and the ways add up (+=).",
            lambda dy, x, weight: (dy[-1] * weight[:, -1], None, None),
        ),
        Mistake(
            "dx has one number for each output. It belongs to x: o is summed over, and i is left.",
            lambda dy, x, weight: (dy * weight.sum(axis=0), None, None),
        ),
        Mistake(
            "dx is not summed: the ways from x[i] to the outputs are still apart. The index o is to disappear.",
            lambda dy, x, weight: (weight * dy, None, None),
        ),
        Mistake(
            "dx has weight with its indices exchanged: the way from x[i] to y[o] has the local slope weight[i, o].",
            lambda dy, x, weight: (dy @ weight, None, None),
        ),
        Mistake(
            "dx lacks the slopes that arrive: weight alone is the local slope, to be multiplied by dy.",
            lambda dy, x, weight: (weight.sum(axis=1), None, None),
        ),
        Mistake(
            "dweight is transposed: entry [i, o] belongs to x[i] and to dy[o].",
            lambda dy, x, weight: (weight @ dy, np.outer(dy, x), None),
        ),
        Mistake(
            "dweight has added things up. Each weight lies on one way only, so there is nothing to sum.",
            lambda dy, x, weight: (weight @ dy, np.full_like(weight, x @ np.ones_like(x) * dy.sum()), None),
        ),
        Mistake(
            "dweight has the weights in it. In x[i] * weight[i, o] the local slope for the weight is the other factor.",
            lambda dy, x, weight: (weight @ dy, weight * dy, None),
        ),
        Mistake(
            "dweight lacks the slopes that arrive: x[i] alone is the local slope, to be multiplied by dy[o].",
            lambda dy, x, weight: (weight @ dy, np.outer(x, np.ones_like(dy)), None),
        ),
        Mistake(
            "dbias is a single sum. Each output has a bias of its own, on one way.",
            lambda dy, x, weight: (weight @ dy, np.outer(x, dy), dy.sum()),
        ),
        Mistake(
            "dbias is the local slope alone. It is multiplied by the slope that arrives.",
            lambda dy, x, weight: (weight @ dy, np.outer(x, dy), np.ones_like(dy)),
        ),
    ],
)
