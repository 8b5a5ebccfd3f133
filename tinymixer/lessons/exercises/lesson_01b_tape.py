"""Exercises 1b.5 and 1b.6 of lesson 01b: a tape of numbers, and the way back through it."""

import copy
import math
from typing import Any

import numpy as np

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.lessons.tape import Tape


def _operations(tape_class, a, b):
    """Numbers a and b at places 1 and 2 of a new tape, their product, a times itself, and the tanh of a.

    Each result with the ways that the tape has kept for it, added up over those from the same place.
    """
    tape = tape_class()
    tape.write(5.0)
    one, other = tape.write(a), tape.write(b)
    found: list[Any] = []
    for name, arguments in (("multiply", (one, other)), ("multiply", (one, one)), ("tanh", (one,))):
        place, parts = getattr(tape, name)(*arguments), dict.fromkeys(arguments)
        if not isinstance(place, int | np.integer) or not 0 <= place < len(tape.values):
            what = "nothing" if place is None else "something else"
            raise LookupError(f"{name} should return a place on the tape and returned {what}")
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


def _ways_in_one_list(self, a, b):
    x, y = self.values[a], self.values[b]
    return self.write(x * y, [(a, y), (b, x)])


def _slope_before_place(self, a, b):
    x, y = self.values[a], self.values[b]
    return self.write(x * y, (y, a), (x, b))


def _one_way_only(self, a, b):
    x, y = self.values[a], self.values[b]
    return self.write(x * y, (a, y))


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
            "multiply multiplies the places a and b. They only say where the numbers are: the numbers are "
            "self.values[a] and self.values[b].",
            _tape_with(multiply=_on_places),
        ),
        Mistake(
            "multiply writes the product down but does not return its place. self.write returns it: pass it on.",
            _tape_with(multiply=_written_but_not_returned),
        ),
        Mistake(
            "multiply returns the product itself, and writes nothing on the tape. Write it down with self.write, and "
            "return the place.",
            _tape_with(multiply=_value_itself),
        ),
        Mistake(
            "The local slopes of the product do not arrive. Is each way a pair of its own, (place, local slope), in "
            "this order, and not a list of pairs?",
            _tape_with(multiply=_ways_in_one_list),
        ),
        Mistake(
            "The local slopes of the product do not arrive. Is each way a pair of its own, (place, local slope), in "
            "this order, and not a list of pairs?",
            _tape_with(multiply=_slope_before_place),
        ),
        Mistake(
            "The product has only one way into it. It is computed from two numbers, and there is a way from each.",
            _tape_with(multiply=_one_way_only),
        ),
        Mistake(
            "The value is the sum: this is add again.",
            _tape_with(multiply=_multiply(lambda x, y: x + y, lambda x, y: y, lambda x, y: x)),
        ),
        Mistake(
            "The two local slopes of the product are swapped. When the first factor moves by h, the product moves by "
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
            "tanh takes the tanh of the place. A place only says where the number is: the number is self.values[a].",
            _tape_with(tanh=lambda self, a: self.write(math.tanh(a), (a, 1 - math.tanh(a) ** 2))),
        ),
        Mistake(
            "tanh returns its value, and writes nothing on the tape. Write it down with self.write, and return the "
            "place.",
            _tape_with(tanh=lambda self, a: math.tanh(self.values[a])),
        ),
        Mistake(
            "tanh does not return the place of its result. self.write returns it: pass it on.",
            _tape_with(tanh=lambda self, a: None),
        ),
        Mistake(
            "tanh uses the number that went in for its slope. The t in 1 - t * t is the number that came out.",
            _tape_with(tanh=_tanh(lambda x, t: 1 - x * x)),
        ),
        Mistake("The slope of tanh is 1 minus its *square*.", _tape_with(tanh=_tanh(lambda x, t: 1 - t))),
        Mistake(
            "tanh keeps a slope of 1, as if it were a sum. Its slope is in the table of slopes.",
            _tape_with(tanh=_tanh(lambda x, t: 1.0)),
        ),
        Mistake("tanh writes down its value where its slope belongs.", _tape_with(tanh=_tanh(lambda x, t: t))),
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
            "+= belongs). The paths add up.",
            _backward(add=False),
        ),
        Mistake(
            "Only the numbers that the last one was computed from have a slope, and nothing is passed on from there. "
            "Is the tape read from front to back? Begin at the last number. Or does the function return inside the "
            "loop?",
            _backward(order=iter),
        ),
        Mistake(
            "The local slope is multiplied by the number itself. What is passed on is that number's *slope*, times the "
            "local slope.",
            _backward(upstream=lambda tape, slopes, place: tape.values[place]),
        ),
        Mistake(
            "The local slopes are added up as they are. Each must be multiplied by the slope of the number that it "
            "leads to, which has already arrived.",
            _backward(upstream=lambda tape, slopes, place: 1.0),
        ),
        Mistake(
            "The local slopes are not used: what arrives is passed on unchanged. Along a path, multiply.",
            _without_the_local_slope,
        ),
        Mistake("Slope and local slope are added. Along a path they are multiplied.", _sum_of_both),
        Mistake(
            "Only the last number has a slope, and nothing is passed on. Does the loop begin at `last` itself? And "
            "does each part receive something from the number that is computed from it, not the other way round?",
            _loops_one_short,
        ),
        Mistake(
            "It starts at the end of the tape. We want the slopes of the number at place `last`, and there may be "
            "others after it.",
            _backward(start=lambda tape: len(tape.values) - 1),
        ),
        Mistake(
            "It starts with the value of the last number instead of its slope, that of L with respect to L.",
            lambda tape, last: _backward(first=tape.values[last])(tape, last),
        ),
    ],
)
