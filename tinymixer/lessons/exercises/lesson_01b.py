"""Exercises of lesson 01b: the chain rule on ten scalars."""

import math

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import Mistake, exercise

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
            "This is how far f moves, not its slope. The slope is that, divided by how far a (or b) has moved.",
            lambda f, a, b, h: (f(a + h, b) - f(a, b), f(a, b + h) - f(a, b)),
        ),
        Mistake(
            "The sign is wrong: from the value after the step subtract the value before it.",
            lambda f, a, b, h: tuple(-slope for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "This is half of what it should be: the two points are h apart, not 2h.",
            lambda f, a, b, h: tuple(slope / 2 for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "Twice what it should be: with a step to each side, the two points are 2h apart.",
            lambda f, a, b, h: tuple(2 * slope for slope in _partials(f, a, b, h)),
        ),
        Mistake(
            "The two values are added. How far f moves is their difference.",
            lambda f, a, b, h: ((f(a + h, b) + f(a, b)) / h, (f(a, b + h) + f(a, b)) / h),
        ),
        Mistake(
            "Python reads from left to right: x / 2 * h is x divided by 2, times h. Put brackets around the divisor.",
            lambda f, a, b, h: tuple(slope * h * h for slope in _partials(f, a, b, h)),
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
            "The entries are added in pairs. Each term is a product, a[i, j] times b[i, j].",
            lambda a, b: (np.sum(a + b), np.sum(a + b, axis=0)),
        ),
        Mistake(
            "This is the matrix product @. Entry (i, j) of a meets entry (i, j) of b and no other: that is *.",
            lambda a, b: (a @ b, None),
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
            "total is a mean. A sum is not divided by anything.",
            lambda a, b: (np.mean(a * b), None),
        ),
        Mistake(
            "columns is summed over j, so it has one number for each row. The index under the sign is i: it "
            "disappears, and j stays.",
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
    "Along one path",
    "my_slopes_of_one_way",
    reference=_one_path,
    cases=_one_path_inputs,
    returns=("dw", "db"),
    mistakes=[
        Mistake(
            "A step of the path is missing from the product: the one from s to s * s has a slope of its own.",
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
            "This is L itself. We want its slopes.",
            lambda x, w, b, t: (((w * x + b) ** 2 - t) ** 2, None),
        ),
        Mistake(
            "t is subtracted from s, before the square. The path goes to s, then to s * s, and only then minus t.",
            lambda x, w, b, t: (2 * (w * x + b - t) * 2 * (w * x + b) * x, None),
        ),
        Mistake(
            "dw has both factors of w * x. The local slope for w is the other factor, x, alone.",
            _with_outer_and_inner(lambda outer, inner, x, w: (outer * inner * x * w, outer * inner)),
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
            "The local slopes are added. Along a path they are multiplied; only different paths are added.",
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
    "Two paths",
    "my_slope_of_two_ways",
    reference=_two_ways,
    cases=lambda generator: [(0.5, 2.0), *(tuple(map(float, generator.normal(size=2))) for _ in range(2))],
    returns="dx",
    mistakes=[
        Mistake(
            "Only the path through tanh is counted. x also reaches y directly, and the paths add up.",
            lambda x, w: w * (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "Only the direct path is counted. x also reaches y through w * x and tanh, and the paths add up.",
            lambda x, w: 1.0,
        ),
        Mistake(
            "The path through tanh lacks its first step: when x moves by h, w * x moves by w times h.",
            lambda x, w: 1 + (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "The slope of tanh is taken at x, but what goes into the tanh here is w * x.",
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
            "Only the path through tanh is counted, and only its last step. x also reaches y directly, and when "
            "x moves by h, w * x moves by w times h.",
            lambda x, w: 1 - math.tanh(w * x) ** 2,
        ),
        Mistake(
            "The path through tanh begins at w. What moves here is x, so the first step, w * x, has the local slope w.",
            lambda x, w: 1 + x * (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "The direct path has the slope 1, not x: when x moves by h, so does this part of y.",
            lambda x, w: x + w * (1 - math.tanh(w * x) ** 2),
        ),
        Mistake(
            "The value of tanh stands where its slope belongs.",
            lambda x, w: 1 + w * math.tanh(w * x),
        ),
        Mistake("The slope of tanh is 1 *minus* its square.", lambda x, w: 1 + w * (1 + math.tanh(w * x) ** 2)),
        Mistake(
            "Brackets are missing: the whole slope of tanh, 1 - t * t, is multiplied by w.",
            lambda x, w: 1 + w * 1 - math.tanh(w * x) ** 2,
        ),
        Mistake(
            "This is y itself. We want its slope with respect to x.",
            lambda x, w: x + math.tanh(w * x),
        ),
        Mistake(
            "This is the slope with respect to w: x is the one that moves here.",
            lambda x, w: x * (1 - math.tanh(w * x) ** 2),
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
            "dx has only its last term: x[i] reaches every output, and the paths add up (+=).",
            lambda dy, x, weight: (dy[-1] * weight[:, -1], None, None),
        ),
        Mistake(
            "dx has one number for each output. It belongs to x: o is summed over, and i stays.",
            lambda dy, x, weight: (dy * weight.sum(axis=0), None, None),
        ),
        Mistake(
            "dx is not summed: the paths from x[i] to the outputs are still separate. The index o should disappear.",
            lambda dy, x, weight: (weight * dy, None, None),
        ),
        Mistake(
            "dx has weight with its indices swapped: the path from x[i] to y[o] has the local slope weight[i, o].",
            lambda dy, x, weight: (dy @ weight, None, None),
        ),
        Mistake(
            "dx has weight with its indices swapped: the path from x[i] to y[o] has the local slope weight[i, o].",
            lambda dy, x, weight: (
                np.array([sum(dy[o] * weight[o, i] for o in range(len(dy))) for i in range(len(x))]),
                None,
                None,
            ),
        ),
        Mistake(
            "dx is still zero: nothing has been added to it.", lambda dy, x, weight: (np.zeros_like(x), None, None)
        ),
        Mistake(
            "dx lacks the slopes that arrive: weight is only the local slope. It must be multiplied by dy.",
            lambda dy, x, weight: (weight.sum(axis=1), None, None),
        ),
        Mistake(
            "dweight is transposed: entry [i, o] belongs to x[i] and to dy[o].",
            lambda dy, x, weight: (weight @ dy, np.outer(dy, x), None),
        ),
        Mistake(
            "dweight has added things up. Each weight lies on one path only, so there is nothing to sum.",
            lambda dy, x, weight: (weight @ dy, np.full_like(weight, x @ np.ones_like(x) * dy.sum()), None),
        ),
        Mistake(
            "dweight has the weights in it. In x[i] * weight[i, o] the local slope for the weight is the other factor.",
            lambda dy, x, weight: (weight @ dy, weight * dy, None),
        ),
        Mistake(
            "dweight lacks the slopes that arrive: x[i] is only the local slope. It must be multiplied by dy[o].",
            lambda dy, x, weight: (weight @ dy, np.outer(x, np.ones_like(dy)), None),
        ),
        Mistake(
            "x and dy are rows with one axis: .T changes nothing, and @ turns two rows into one number. A table has an "
            "entry for every pair of an i and an o.",
            lambda dy, x, weight: (weight @ dy, x.T @ dy, None),
        ),
        Mistake(
            "dweight is still zero: nothing has been written into it.",
            lambda dy, x, weight: (weight @ dy, np.zeros_like(weight), None),
        ),
        Mistake(
            "dbias is still zero: nothing has been written into it.",
            lambda dy, x, weight: (weight @ dy, np.outer(x, dy), np.zeros_like(dy)),
        ),
        Mistake(
            "dbias is a single sum. Each output has a bias of its own, on one path.",
            lambda dy, x, weight: (weight @ dy, np.outer(x, dy), dy.sum()),
        ),
        Mistake(
            "dbias is the local slope alone. It is multiplied by the slope that arrives.",
            lambda dy, x, weight: (weight @ dy, np.outer(x, dy), np.ones_like(dy)),
        ),
    ],
)
