"""Exercises of lesson 03: gradient checking, and how a check can lie."""

import numpy as np

from tinymixer import ops
from tinymixer.analysis.checks_that_lie import numerical_gradient, relative_error
from tinymixer.gradcheck.differences import complex_step
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


def forward_differences(forward, x, dy, h=1e-5):
    """(y(x + h) - y(x)) / h with respect to each element: off by a multiple of h."""
    dx, y = np.zeros_like(x), forward(x)[0]
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += h
        dx[index] = np.sum(dy * (forward(moved)[0] - y)) / h
    return dx


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
            forward_differences,
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
