"""Exercises of lesson 03: gradient checking, and how a check can lie."""

import numpy as np

from tinymixer import ops
from tinymixer.analysis.checks_that_lie import numerical_gradient, relative_error
from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.differences import complex_step
from tinymixer.gradcheck.planted_faults import layer_norm, linear
from tinymixer.lessons.exercise import Mistake, exercise


def _cubic(x):
    """A curve whose third derivative does not vanish, and whose elements do not know each other."""
    return x**3 - 2 * x, x


def _difference_inputs(generator):
    """f, x, h: steps so large that the error of a forward difference shows."""
    yield np.sin, 1.0, 0.1
    yield np.exp, float(generator.normal()), 0.01
    yield (lambda x: x**3), 2.0, 0.5


def _central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


exercise(
    "3.1",
    "A derivative from two evaluations",
    "my_central_difference",
    reference=_central_difference,
    cases=_difference_inputs,
    returns="slope",
    mistakes=[
        Mistake(
            "This is the forward difference: one of the two points is x itself. Take one step to each side.",
            lambda f, x, h: (f(x + h) - f(x)) / h,
        ),
        Mistake("It is not divided by the distance between the two points.", lambda f, x, h: f(x + h) - f(x - h)),
        Mistake(
            "This is the backward difference: one of the two points is x itself. Take one step to each side.",
            lambda f, x, h: (f(x) - f(x - h)) / h,
        ),
        Mistake(
            "The points are half a step away on each side, so they are h apart, but the difference is divided by 2h.",
            lambda f, x, h: (f(x + h / 2) - f(x - h / 2)) / (2 * h),
        ),
        Mistake(
            "Twice what it should be. The two points lie on either side of x: how far apart are they?",
            lambda f, x, h: (f(x + h) - f(x - h)) / h,
        ),
        Mistake(
            "Python reads from left to right: a / 2 * h is a divided by 2, times h. Put brackets around the divisor.",
            lambda f, x, h: (f(x + h) - f(x - h)) / 2 * h,
        ),
        Mistake(
            "Only the second value is divided. Put brackets around the difference.",
            lambda f, x, h: f(x + h) - f(x - h) / (2 * h),
        ),
        Mistake(
            "The sign is wrong: the value on the left is subtracted from the one on the right.",
            lambda f, x, h: (f(x - h) - f(x + h)) / (2 * h),
        ),
    ],
)


def _complex_inputs(generator):
    yield np.sin, 1.0
    yield np.exp, generator.normal(size=4)
    yield (lambda x: x**3 / (1 + x * x)), generator.normal(size=(2, 3))


exercise(
    "3.2",
    "The complex step",
    "my_complex_step",
    reference=lambda f, x: complex_step(lambda displacement: f(x + displacement), 1.0),
    cases=_complex_inputs,
    returns="slope",
    tolerance=1e-13,
    mistakes=[
        Mistake(
            "The result is not divided by h: the imaginary part is h times the derivative.",
            lambda f, x: np.imag(f(x + 1e-30j)),
        ),
        Mistake(
            "The real part of f(x + ih) is f(x) itself. The derivative stands in the other part: take that one alone.",
            lambda f, x: np.real(f(x + 1e-30j)) / 1e-30,
        ),
        Mistake(
            "The real part of f(x + ih) is f(x) itself. The derivative stands in the other part: take that one alone.",
            lambda f, x: np.real(f(x + 1e-30j)),
        ),
        Mistake(
            "The step goes along the real axis, where 1e-30 is lost next to x and nothing imaginary appears. "
            "Python writes the imaginary unit 1j.",
            lambda f, x: np.imag(f(x + 1e-30)) / 1e-30,
        ),
    ],
)


def _gradient_inputs(generator):
    """forward, x, dy: elements that do not know each other, then rows that do, then a matrix of weights."""
    yield _cubic, generator.normal(size=4), generator.normal(size=4)
    yield _norm, generator.normal(size=(2, 3)), generator.normal(size=(2, 3))
    images, bias = generator.normal(size=(5, 3)), np.zeros(2)

    def linear_of_weight(weight):
        return ops.linear_forward(images, weight, bias)

    yield linear_of_weight, generator.normal(size=(3, 2)), generator.normal(size=(5, 2))


def _norm(x):
    """LayerNorm over rows of three, with scales that are not alike: its outputs do not sum to 0."""
    return ops.layer_norm_forward(x, np.array([0.5, 1.0, 2.0]), np.zeros(3))


def _not_moved_back(forward, x, dy, h=1e-5):
    dx, moved = np.zeros_like(x), x.copy()
    for index in np.ndindex(x.shape):
        moved[index] += h
        up = forward(moved)[0]
        moved[index] -= 2 * h
        dx[index] = np.sum(dy * (up - forward(moved)[0])) / (2 * h)
    return dx


def _every_element_moved(forward, x, dy, h=1e-5):
    slope = np.sum(dy * (forward(x + h)[0] - forward(x - h)[0])) / (2 * h)
    return np.full_like(x, slope)


def _with_ones(forward, x, dy, h=1e-5):
    return numerical_gradient(forward, x, np.ones_like(dy), h)


exercise(
    "3.3",
    "The numerical gradient",
    "my_numerical_gradient",
    reference=numerical_gradient,
    cases=_gradient_inputs,
    returns="dx",
    tolerance=1e-7,
    mistakes=[
        Mistake(
            "dy is not used: this is the gradient of y.sum(). Weight every output by its dy before you sum.",
            _with_ones,
        ),
        Mistake(
            "All elements are moved at once, so each gets the sum of all derivatives. Move one and leave the others "
            "where they are.",
            _every_element_moved,
        ),
        Mistake(
            "An element stays moved while the next one is measured. Start from x for every index, or put it back.",
            _not_moved_back,
        ),
        Mistake(
            "Twice what it should be: the two points are 2h apart.",
            lambda forward, x, dy, h=1e-5: 2 * numerical_gradient(forward, x, dy, h),
        ),
        Mistake(
            "It is not divided by the distance between the two points.",
            lambda forward, x, dy, h=1e-5: 2 * h * numerical_gradient(forward, x, dy, h),
        ),
        Mistake(
            "These are forward differences, which are only right to five digits. Take one step to each side.",
            lambda forward, x, dy, h=1e-5: _forward_differences(forward, x, dy, h),
        ),
        Mistake(
            "This is a mean over the outputs. The loss is their weighted sum.",
            lambda forward, x, dy, h=1e-5: numerical_gradient(forward, x, dy, h) / dy.size,
        ),
    ],
)


def _error_inputs(generator):
    """expected, got: nearly alike; opposite signs; a true zero beside rounding, also in a large gradient; all zero; one
    wrong element; NaN.
    """
    expected = generator.normal(size=(3, 4))
    yield expected, expected * (1 + 1e-3 * generator.uniform(size=(3, 4)))
    yield np.array([-1.0, -2.0, 0.5]), np.array([-1.0, 2.0, 0.5])
    yield np.array([0.0, 2.0, -3.0]), np.array([1e-12, 2.0, -3.0 - 1e-6])
    yield np.array([0.0, 2e3, -5.0]), np.array([1e-4, 2e3, -5.01])
    yield np.zeros(3), np.array([1e-11, 0.0, -1e-11])
    large = 1e3 * expected
    yield large, large + np.where(expected == expected.max(), 5.0, 0.0)
    yield np.array([1.0, 2.0]), np.array([1.0, np.nan])


def _error(expected, got, *, size=None, worst=np.max):
    apart = abs(expected - got)
    if size is None:
        floor = 1e-3 * max(abs(expected).max(), 1.0)
        size = np.maximum(np.maximum(abs(expected), abs(got)), floor)
    return worst(apart / size)


exercise(
    "3.4",
    "The relative error, with a floor",
    "my_relative_error",
    reference=relative_error,
    cases=_error_inputs,
    returns="error",
    mistakes=[
        Mistake(
            "There is no floor: where 0 is expected, a computed 1e-12 counts as completely wrong. Keep the divisor "
            "above a floor.",
            lambda expected, got: _error(expected, got, size=np.maximum(abs(expected), abs(got))),
        ),
        Mistake(
            "The floor is a fixed number here. Rounding grows with the gradient, so the floor must grow with it: what "
            "is it 1e-3 of?",
            lambda expected, got: _error(expected, got, size=np.maximum(np.maximum(abs(expected), abs(got)), 1e-3)),
        ),
        Mistake(
            "This is the absolute error, which says little unless the gradient's size is known. Divide by the size.",
            lambda expected, got: _error(expected, got, size=1.0),
        ),
        Mistake(
            "This is the mean over all elements, in which one wrong element is lost. Look at the worst one.",
            lambda expected, got: _error(expected, got, worst=np.mean),
        ),
        Mistake(
            "The sizes are compared with their signs: the floor is larger than any negative number. Where does the "
            "formula have bars |...|?",
            lambda expected, got: _error(
                expected,
                got,
                size=np.maximum(np.maximum(expected, got), 1e-3 * max(abs(expected).max(), 1.0)),
            ),
        ),
        Mistake(
            "The difference has kept its sign: an element that is too large gives a negative error, which max misses.",
            lambda expected, got: np.max(
                (expected - got) / np.maximum(np.maximum(abs(expected), abs(got)), 1e-3 * max(abs(expected).max(), 1.0))
            ),
        ),
        Mistake(
            "Each element is measured against the largest one of all, so small ones may be completely wrong. Divide "
            "each by its own size.",
            lambda expected, got: _error(expected, got, size=max(abs(expected).max(), np.max(abs(got)), 1e-3)),
        ),
    ],
)


def _direction_inputs(generator):
    """forward, backward, x, dy, direction; the last backward is wrong, so that the two numbers differ."""
    for forward, x, dy in _gradient_inputs(generator):
        backward = {_cubic: _cubic_backward, _norm: _norm_backward}.get(forward, _weight_gradient)
        yield forward, backward, x, dy, generator.normal(size=x.shape)
    yield _cubic, _wrong_cubic_backward, *(generator.normal(size=5) for _ in range(3))


def _cubic_backward(dy, x):
    return dy * (3 * x**2 - 2)


def _wrong_cubic_backward(dy, x):
    return dy * (x**2 - 2)


def _norm_backward(dy, cache):
    return ops.layer_norm_backward(dy, cache)[0]


def _weight_gradient(dy, cache):
    return ops.linear_backward(dy, cache)[1]


def _along(forward, backward, x, dy, direction, h=1e-5):
    _, cache = forward(x)
    change = forward(x + h * direction)[0] - forward(x - h * direction)[0]
    return np.sum(dy * change) / (2 * h), np.sum(backward(dy, cache) * direction)


def _wrong_measured(measure):
    return lambda forward, backward, x, dy, direction, h=1e-5: (
        measure(forward, x, dy, direction, h),
        _along(forward, backward, x, dy, direction, h)[1],
    )


def _wrong_predicted(predict):
    return lambda forward, backward, x, dy, direction, h=1e-5: (
        _along(forward, backward, x, dy, direction, h)[0],
        predict(backward(dy, forward(x)[1]), x, dy, direction, h),
    )


exercise(
    "3.5",
    "One direction through everything",
    "my_directional_check",
    reference=_along,
    cases=_direction_inputs,
    returns=("measured", "predicted"),
    tolerance=1e-7,
    mistakes=[
        Mistake(
            "measured moves every element by h, whatever the direction. Move x by h times direction.",
            _wrong_measured(
                lambda forward, x, dy, direction, h: np.sum(dy * (forward(x + h)[0] - forward(x - h)[0])) / (2 * h)
            ),
        ),
        Mistake(
            "measured is twice what it should be: the two points are 2h apart.",
            _wrong_measured(
                lambda forward, x, dy, direction, h: (
                    np.sum(dy * (forward(x + h * direction)[0] - forward(x - h * direction)[0])) / h
                )
            ),
        ),
        Mistake(
            "measured leaves dy out: this is the change in y.sum(), not in the sum of dy * y.",
            _wrong_measured(
                lambda forward, x, dy, direction, h: (
                    np.sum(forward(x + h * direction)[0] - forward(x - h * direction)[0]) / (2 * h)
                )
            ),
        ),
        Mistake(
            "predicted is the sum of dx: each of its elements counts as far as the direction moves it.",
            _wrong_predicted(lambda dx, x, dy, direction, h: np.sum(dx)),
        ),
        Mistake(
            "predicted is still an array. A direction has one slope: the products of dx and direction, added up.",
            _wrong_predicted(lambda dx, x, dy, direction, h: dx * direction),
        ),
        Mistake(
            "predicted is the change for a step of h. The slope is that change divided by h.",
            _wrong_predicted(lambda dx, x, dy, direction, h: h * np.sum(dx * direction)),
        ),
    ],
)


class _Pairs(tuple):
    """Pairs of a forward and a backward, each with an x. In a verdict they are said, not shown."""

    def __repr__(self):
        return f"{len(self)} pairs, some right, some wrong"


def _pair(operation, backward, place, arrays):
    """An operation as a function of one input, with its gradient. The other inputs follow the dtype of x."""

    def forward(x):
        others = [array.astype(x.dtype) for array in arrays]
        return getattr(ops, f"{operation}_forward")(*others[:place], x, *others[place + 1 :])

    return forward, lambda dy, cache: backward(dy, cache)[place], arrays[place]


CONSTANT = 0.3989423  # and in one of the backwards, by mistake, only its first three digits


def _parabola(x):
    return CONSTANT * x * x, x


def _right_parabola_backward(dy, x):
    return 2 * CONSTANT * x * dy


def _rounded_parabola_backward(dy, x):
    return 2 * 0.399 * x * dy


def _not_a_number_backward(dy, x):
    dx = _right_parabola_backward(dy, x)
    dx[-1, -1] = np.nan
    return dx


def _tiny(x):
    return 1e-7 * x, None


def _tiny_backward_with_the_wrong_sign(dy, cache):
    return -1e-7 * dy


def _shifted_norm(shift):
    """LayerNorm of rows that are moved as a whole: it takes the movement out again, so the gradient is 0."""
    row = np.linspace(-1.0, 2.0, 7, dtype=shift.dtype) ** 2
    return ops.layer_norm_forward(row + shift, np.ones_like(row), np.zeros_like(row))


def _shifted_norm_backward(dy, cache):
    return ops.layer_norm_backward(dy, cache)[0].sum(axis=-1, keepdims=True)


def _checked_pairs(generator):
    """The pairs that a checker must judge, each output of the exercise one of them, in the order of VERDICTS."""
    images, weight, bias = generator.normal(size=(5, 6)), generator.normal(size=(6, 6)), np.zeros(6)
    scale, shift = np.ones(6), np.zeros(6)
    rows = generator.normal(size=(3, 6))
    seeded = np.random.default_rng(0).normal(size=(4, 4))  # what a checker that starts from seed 0 draws as well
    square = generator.normal(size=(4, 4))
    pairs = (
        _pair("linear", ops.linear_backward, 1, [images, weight, bias]),
        _pair("linear", linear.sign_flipped, 0, [images, weight, bias]),
        _pair("layer_norm", ops.layer_norm_backward, 0, [rows, scale, shift]),
        (_shifted_norm, _shifted_norm_backward, generator.normal(size=(4, 1))),
        _pair("layer_norm", layer_norm.variance_term_missing, 0, [rows, scale, shift]),
        _pair("linear", linear.last_element_left_out, 1, [images, weight, bias]),
        (_parabola, _rounded_parabola_backward, generator.normal(size=(3, 4))),
        (_tiny, _tiny_backward_with_the_wrong_sign, generator.normal(size=(3, 2))),
        _pair("linear", linear.weight_gradient_transposed, 1, [seeded, square, np.zeros(4)]),
        (_parabola, _not_a_number_backward, generator.normal(size=(3, 4))),
    )
    yield (_Pairs(pairs),)


VERDICTS = (
    "correct Linear",
    "flipped sign",
    "correct LayerNorm",
    "correct zero gradient",
    "third term missing",
    "last element missing",
    "rounded constant",
    "tiny flipped sign",
    "transposed gradient",
    "one NaN",
)


def _judge(checker, pairs):
    """The checker's verdict on every pair."""
    return tuple(checker(forward, backward, x) for forward, backward, x in pairs)


def _package_check(*pair):
    forward, backward, x = pair
    return check_operation(forward, backward, x).passed


def _check(forward, backward, x, *, dy=None, seed=404, differences=numerical_gradient, error=relative_error, good=None):
    """A checker like the lesson's, whose parts can be exchanged for worse ones."""
    y, cache = forward(x)
    dy = np.random.default_rng(seed).normal(size=y.shape) if dy is None else dy(y)
    found = error(differences(forward, x, dy), backward(dy, cache))
    return good(found) if good else found < 1e-6


def _forward_differences(forward, x, dy, h=1e-5):
    """(y(x + h) - y(x)) / h with respect to each element: off by a multiple of h."""
    dx, y = np.zeros_like(x), forward(x)[0]
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += h
        dx[index] = np.sum(dy * (forward(moved)[0] - y)) / h
    return dx


def _first_element(expected, got):
    return relative_error(expected.flat[0], got.flat[0])


def _without_floor(expected, got):
    return np.max(abs(expected - got) / np.maximum(abs(expected), abs(got)))


def _absolute(expected, got):
    return np.max(abs(expected - got))


# The first pair that is judged wrongly decides the hint: the first mistake below that judges that pair in the same way.
exercise(
    "3.6",
    "A checker that does not lie",
    "my_check",
    reference=_package_check,
    cases=_checked_pairs,
    returns=VERDICTS,
    call=_judge,
    mistakes=[
        Mistake(
            "LayerNorm without its third term gets through. Is dy all ones, or the same number everywhere, or are the "
            "elements added up before they are compared? Both hide it: rows of the wrong gradient have the right sum.",
            lambda *pair: _check(*pair, dy=np.ones_like),
        ),
        Mistake(
            "A tiny gradient of the wrong sign gets through: an absolute error of 1e-7 is small, but here the whole "
            "gradient is that small. Compare it with its own size.",
            lambda *pair: _check(*pair, error=_absolute),
        ),
        Mistake(
            "A transposed weight gradient gets through. Its images were drawn from default_rng(0), and so was your dy: "
            "the same numbers, and x.T @ x is symmetric. Draw from a seed that nobody else uses.",
            lambda *pair: _check(*pair, seed=0),
        ),
        Mistake(
            "A gradient with a NaN in it gets through. NaN > 1e-6 is False, and so is NaN < 1e-6: ask whether the "
            "error is small, not whether it is large.",
            lambda *pair: _check(*pair, good=lambda error: not error > 1e-6),
        ),
        Mistake(
            "A gradient that is wrong by one part in ten thousand gets through: the tolerance is too loose, perhaps "
            "because the check computes in float32. Differences in float64 are good to nine digits: ask for six.",
            lambda *pair: _check(*pair, good=lambda error: error < 1e-2),
        ),
        Mistake(
            "A gradient with one wrong element gets through: not all elements were looked at, or their errors were "
            "averaged. Compare every element, or move along a direction that contains a part of each.",
            lambda *pair: _check(*pair, error=_first_element),
        ),
        Mistake(
            "A correct gradient that is 0 everywhere is refused: the differences that it is compared with contain "
            "rounding, and rounding is not an error of the backward pass. Is there a floor under what the error is "
            "divided by?",
            lambda *pair: _check(*pair, error=_without_floor),
        ),
        Mistake(
            "The gradient of a curved function is refused though it is correct: the differences are not good enough. "
            "Are they central, in float64, with h near 1e-5?",
            lambda *pair: _check(*pair, differences=_forward_differences),
        ),
        Mistake(
            "Even a gradient with the wrong sign gets through. Is the error taken without its sign, and does the "
            "result of the comparison come back?",
            lambda *pair: True,
        ),
        Mistake(
            "A correct gradient is refused, and it is the simplest of them. Is the comparison the right way round? In "
            "float64, with h near 1e-5, the error of a correct gradient is near 1e-9.",
            lambda *pair: False,
        ),
    ],
)
