"""gelu_tanh: the tanh form of GELU."""

import math

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import BackendError
from tinymixer.gradcheck import check_operation


def test_values_are_those_of_the_formula():
    x = np.linspace(-6, 6, 2001)
    expected = [v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x]
    np.testing.assert_allclose(ops.gelu_tanh_forward(x)[0], expected, rtol=1e-13, atol=1e-15)


def test_gelu_forms_differ_by_what_the_paper_says():
    x = np.linspace(-6, 6, 2001)
    difference = np.abs(ops.gelu_tanh_forward(x)[0] - ops.gelu_erf_forward(x)[0])
    assert 1e-4 < difference.max() < 5e-4


def test_large_inputs_neither_overflow_nor_lose_their_sign():
    x = np.array([-1e4, 0, 1e4], "float32")
    y, cache = ops.gelu_tanh_forward(x)
    np.testing.assert_array_equal(y, [0, 0, 1e4])
    np.testing.assert_array_equal(ops.gelu_tanh_backward(np.ones_like(x), cache), [0, 0.5, 1])


def test_the_gradient_is_right():
    x = 2 * np.random.default_rng(1).standard_normal((3, 4))
    check_operation(ops.gelu_tanh_forward, ops.gelu_tanh_backward, x).raise_if_failed()


def test_what_is_no_array_is_refused():
    with pytest.raises(BackendError, match=r"expected an array of NumPy or CuPy, got list: use backend.asarray"):
        ops.gelu_tanh_forward([1.0, 2.0])
