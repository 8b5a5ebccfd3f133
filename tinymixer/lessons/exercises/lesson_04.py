"""Exercises of lesson 04: GELU in both its forms, the dtype that comes out, and arrays that are not one's own."""

import tracemalloc

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import gelu
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.ops.gelu import DENSITY_AT_ZERO, TANH_CUBIC, TANH_SLOPE


def _two_linears(generator):
    """weight1 (I, M), bias1 (M,), weight2 (M, O), bias2 (O,): all sizes different, then all alike, then M = 1."""
    for inputs, middle, outputs in ((3, 4, 2), (3, 3, 3), (2, 1, 4)):
        yield (
            generator.normal(size=(inputs, middle)),
            generator.normal(size=middle),
            generator.normal(size=(middle, outputs)),
            generator.normal(size=outputs),
        )


def _merged(weight1, bias1, weight2, bias2):
    return weight1 @ weight2, bias1 @ weight2 + bias2


exercise(
    "4.1",
    "Two Linears are one",
    "my_merged_linears",
    reference=_merged,
    cases=_two_linears,
    returns=("weight", "bias"),
    mistakes=[
        Mistake(
            "The two weights are multiplied in the wrong order. A row x meets the first weight first, from the right.",
            lambda weight1, bias1, weight2, bias2: (weight2 @ weight1, bias1 @ weight2 + bias2),
        ),
        Mistake(
            "The first bias is added as it is. Like everything else, it goes through the second Linear.",
            lambda weight1, bias1, weight2, bias2: (weight1 @ weight2, bias1 + bias2),
        ),
        Mistake(
            "The first bias is lost. It is added before the second weight, so it goes through it.",
            lambda weight1, bias1, weight2, bias2: (weight1 @ weight2, bias2),
        ),
        Mistake(
            "The second bias is lost.", lambda weight1, bias1, weight2, bias2: (weight1 @ weight2, bias1 @ weight2)
        ),
        Mistake(
            "Both biases went through the second weight. The second one is added after it.",
            lambda weight1, bias1, weight2, bias2: (weight1 @ weight2, (bias1 + bias2) @ weight2),
        ),
        Mistake(
            "This is the element-by-element product, *. The matrix product is written @.",
            lambda weight1, bias1, weight2, bias2: (weight1 * weight2, bias1 * weight2 + bias2),
        ),
    ],
)


def _gelu_inputs(forward):
    """dy and the cache of a forward: a matrix, tails on both sides, one number, float32."""

    def cases(generator):
        yield generator.normal(size=(3, 4)), forward(2 * generator.normal(size=(3, 4)))[1]
        yield generator.normal(size=7), forward(np.array([-30.0, -3.0, -0.5, 0.0, 0.5, 3.0, 30.0]))[1]
        yield generator.normal(size=(1, 1)), forward(generator.normal(size=(1, 1)))[1]
        narrow = generator.normal(size=(2, 5)).astype(np.float32)
        yield generator.normal(size=(2, 5)).astype(np.float32), forward(narrow)[1]

    return cases


def _density(x):
    return DENSITY_AT_ZERO * np.exp(-0.5 * x * x)


exercise(
    "4.2",
    "GELU, exact: backward",
    "my_gelu_erf_backward",
    reference=ops.gelu_erf_backward,
    cases=_gelu_inputs(ops.gelu_erf_forward),
    returns="dx",
    mistakes=[
        Mistake(
            "Only the first term of the product rule is there: x itself was differentiated, but Phi was not.",
            lambda dy, cache: dy * cache[1],
        ),
        Mistake(
            "Only the second term of the product rule is there: Phi was differentiated, but the factor x was not.",
            lambda dy, cache: dy * cache[0] * _density(cache[0]),
        ),
        Mistake(
            "The density lacks its factor in front: without it the area under the bell is not 1.",
            gelu.density_not_normalised,
        ),
        Mistake(
            "The density's factor is 1 / sqrt(2 pi): take the root of the product of 2 and pi.",
            lambda dy, cache: dy * (cache[1] + cache[0] * np.exp(-0.5 * cache[0] * cache[0]) / np.sqrt(2) * np.pi),
        ),
        Mistake(
            "The density's exponent is twice too large: look at the exponent in the formula of phi.",
            gelu.density_without_its_half,
        ),
        Mistake(
            "The factor x before the density is missing: in the product rule it stays.",
            lambda dy, cache: dy * (cache[1] + _density(cache[0])),
        ),
        Mistake(
            "dy is missing: this is the slope of GELU, and the chain rule multiplies it by what came from above.",
            lambda dy, cache: cache[1] + cache[0] * _density(cache[0]),
        ),
    ],
)

exercise(
    "4.3",
    "GELU, tanh form: backward",
    "my_gelu_tanh_backward",
    reference=ops.gelu_tanh_backward,
    cases=_gelu_inputs(ops.gelu_tanh_forward),
    returns="dx",
    mistakes=[
        Mistake(
            "Only the first term of the product rule is there: t depends on x as well.", gelu.product_rule_half_done
        ),
        Mistake("The derivative of x^3 lacks its factor 3: the exponent comes down.", gelu.exponent_not_brought_down),
        Mistake(
            "The derivative of tanh is taken as 1 - t. It is 1 - t^2: the curve is flat at t = -1, too.",
            gelu.tanh_derivative_not_squared,
        ),
        Mistake(
            "The inner derivative du/dx is missing: t depends on x through u, and each link of the chain is a factor.",
            lambda dy, cache: dy * (0.5 * (1 + cache[1]) + 0.5 * cache[0] * (1 - cache[1] ** 2)),
        ),
        Mistake(
            "The inner derivative lacks the factor sqrt(2 / pi), which multiplies the whole of u.",
            lambda dy, cache: (
                dy
                * (
                    0.5 * (1 + cache[1])
                    + 0.5 * cache[0] * (1 - cache[1] ** 2) * (1 + 3 * TANH_CUBIC * cache[0] * cache[0])
                )
            ),
        ),
        Mistake(
            "This is the derivative of the exact form. It differs from that of the tanh form in the third digit.",
            gelu.derivative_of_the_erf_form,
        ),
        Mistake(
            "The constant is 0.0447 here and 0.044715 in the forward pass: this is the gradient of another function.",
            gelu.cubic_constant_rounded_in_the_backward,
        ),
        Mistake(
            "dy is missing: this is the slope of GELU, and the chain rule multiplies it by what came from above.",
            lambda dy, cache: ops.gelu_tanh_backward(np.ones_like(dy), cache),
        ),
    ],
)


def _forward_inputs(generator):
    """x: float32 first, as in training; then float64, in which all digits are asked for; then large numbers."""
    yield (2 * generator.normal(size=(3, 4)).astype(np.float32),)
    yield (2 * generator.normal(size=(2, 3, 2)),)
    yield (np.array([-50.0, -1.0, 0.0, 1.0, 50.0], dtype=np.float32),)


def _forward(x):
    return ops.gelu_tanh_forward(x)[0]


def _forward_and_digits(function, x):
    """y, and for float64 whether ten digits and more of it are right."""
    y = function(x)
    exact = _forward(np.asarray(x, np.float64))
    good = y.dtype != np.float64 or y.shape != x.shape or bool(np.max(abs(y - exact)) < 1e-11)
    return y, good or x.dtype != np.float64


exercise(
    "4.4",
    "The dtype that goes in comes out",
    "my_gelu_tanh",
    reference=_forward,
    cases=_forward_inputs,
    returns=("y", "the precision in float64"),
    call=_forward_and_digits,
    mistakes=[
        Mistake(
            "In float64 only seven digits are right: a constant was rounded to float32, or everything was computed in "
            "float32. A Python float takes on the dtype of the array it meets.",
            lambda x: _forward(x.astype(np.float32)).astype(x.dtype),
        ),
        Mistake(
            "This is another approximation of GELU, with a sigmoid of 1.702 x. We want the tanh form.",
            lambda x: x / (1 + np.exp(-1.702 * x)),
        ),
        Mistake(
            "The cube has no factor, or a different one: it is 0.044715 times x^3.",
            lambda x: 0.5 * x * (1 + np.tanh(TANH_SLOPE * (x + x * x * x))),
        ),
        Mistake(
            "The factor sqrt(2 / pi) belongs before the bracket: it multiplies x and the cube alike.",
            lambda x: 0.5 * x * (1 + np.tanh(TANH_SLOPE * x + TANH_CUBIC * x * x * x)),
        ),
        Mistake(
            "The 1 before the tanh is missing: the gate must go from 0 to 1, and tanh alone goes from -1 to 1.",
            lambda x: 0.5 * x * np.tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x)),
        ),
        Mistake(
            "Twice what it should be: the factor of one half is missing.",
            lambda x: x * (1 + np.tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x))),
        ),
    ],
)


def _arrays_at_once(function):
    """The largest number of arrays of the size of x that the function made and held at one time."""
    x = np.linspace(-3, 3, 16384)  # 128 kB: NumPy reuses the memory of temporaries only where they are larger
    dy = np.ones_like(x)
    cache = ops.gelu_tanh_forward(x)[1]
    for array in (dy, *cache):
        array.flags.writeable = False
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function(dy, cache)
        return (tracemalloc.get_traced_memory()[1] - before) / x.nbytes
    finally:
        if not tracing:
            tracemalloc.stop()


def _backward_and_memory(function, dy, cache):
    return function(dy, cache), _arrays_at_once(function) < 3.5


def _frugal(dy, cache):
    x, t = cache
    slope = x * x  # (...)
    slope *= 3.0 * TANH_CUBIC * TANH_SLOPE
    slope += TANH_SLOPE
    slope *= 0.5 * x
    slope *= 1.0 - t * t
    slope += 0.5
    slope += 0.5 * t
    slope *= dy
    return slope


def _gate_forgotten(dy, cache):
    x, t = cache
    return dy * (0.5 * x * (1.0 - t * t) * TANH_SLOPE * (1.0 + 3.0 * TANH_CUBIC * x * x))


exercise(
    "4.5",
    "Frugal with memory",
    "my_frugal_backward",
    reference=_frugal,
    cases=_gelu_inputs(ops.gelu_tanh_forward),
    returns=("dx", "the memory used"),
    call=_backward_and_memory,
    mistakes=[
        Mistake(
            "dx is right, but four arrays or more of the size of x existed at the same time. Every operator makes a "
            "new one: let *= and += work on the array you have, and use up each product at once.",
            ops.gelu_tanh_backward,
        ),
        Mistake(
            "Only the second term of the product rule is there: (1 + t) / 2 must be added before everything is "
            "multiplied by dy.",
            _gate_forgotten,
        ),
        Mistake(
            "Only the first term of the product rule is there: t depends on x as well.", gelu.product_rule_half_done
        ),
        Mistake("The derivative of x^3 lacks its factor 3: the exponent comes down.", gelu.exponent_not_brought_down),
        Mistake(
            "dy is missing: multiply the finished slope by it.",
            lambda dy, cache: _frugal(np.ones_like(dy), cache),
        ),
    ],
)
