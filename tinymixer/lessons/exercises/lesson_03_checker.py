"""Exercise 3.6: a checker that does not lie, and the pairs that it must judge."""

import numpy as np

from tinymixer import ops
from tinymixer.analysis.checks_that_lie import numerical_gradient, relative_error
from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.planted_faults import layer_norm, linear
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.lessons.exercises.lesson_03 import forward_differences


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
            lambda *pair: _check(*pair, differences=forward_differences),
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
