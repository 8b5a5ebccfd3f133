"""gelu_erf: the exact form of GELU, and the normal distribution function it is made of."""

import math

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import BackendError
from tinymixer.gradcheck import check_operation
from tinymixer.ops.normal_distribution import normal_cdf


def test_normal_cdf_is_exact_to_double_precision():
    x = np.linspace(-37, 37, 5001)
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    np.testing.assert_allclose(normal_cdf(x), expected, rtol=1e-12, atol=4e-16)


def test_values_are_those_of_the_formula():
    x = np.linspace(-6, 6, 2001)
    expected = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(ops.gelu_erf_forward(x)[0], expected, atol=1e-14)


def test_large_inputs_neither_overflow_nor_lose_their_sign():
    x = np.array([-1e4, 0, 1e4], "float32")
    y, cache = ops.gelu_erf_forward(x)
    np.testing.assert_array_equal(y, [0, 0, 1e4])
    np.testing.assert_array_equal(ops.gelu_erf_backward(np.ones_like(x), cache), [0, 0.5, 1])


def test_the_gradient_is_right():
    x = 2 * np.random.default_rng(1).standard_normal((3, 4))
    check_operation(ops.gelu_erf_forward, ops.gelu_erf_backward, x).raise_if_failed()


def test_what_is_no_array_is_refused():
    with pytest.raises(BackendError, match=r"expected an array of NumPy or CuPy, got list: use backend.asarray"):
        ops.gelu_erf_forward([1.0, 2.0])
