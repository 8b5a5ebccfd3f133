"""The numerical derivatives themselves, on functions whose derivatives are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.gradcheck.differences import complex_step, derivative

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (np.exp, np.exp),
        (np.sin, np.cos),
        (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        (lambda x: 1 / x, lambda x: -1 / x**2),
        (lambda x: x**5, lambda x: 5 * x**4),
    ],
)
@given(x=st.floats(0.05, 5), sign=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_smooth_functions_are_differentiated_to_nine_digits_and_the_estimate_holds(function, slope, x, sign):
    x *= sign
    noise = EPS * abs(function(x))
    value, error = derivative(lambda t: np.asarray(function(x + t)), abs(x), noise)
    assert abs(value - slope(x)) <= max(1e-9 * abs(slope(x)), 2 * error)
    assert error <= 1e-8 * max(abs(slope(x)), abs(function(x) / x))


def test_a_function_that_changes_much_faster_than_its_input_is_still_resolved():
    value, error = derivative(lambda t: np.asarray(np.sin(1000 * (1000.0 + t))), 1000.0, EPS * 1e6)
    assert value == pytest.approx(1000 * np.cos(1e6), rel=1e-5)
    assert error < 1


def test_a_kink_nearby_is_stepped_over_by_smaller_steps():
    value, _ = derivative(lambda t: np.maximum(np.array([1e-4, -1e-4, 1.0]) + t, 0), 1.0, EPS)
    np.testing.assert_allclose(value, [1, 0, 1], atol=1e-9)


def test_a_function_that_is_nowhere_finite_has_no_derivative():
    value, error = derivative(lambda t: np.asarray(np.nan), 1.0, EPS)
    assert np.isnan(value)
    assert np.isinf(error)


def test_a_jump_is_not_taken_for_a_derivative():
    _, error = derivative(lambda t: np.sign(np.asarray(t)), 1.0, EPS)
    assert error > 1


def test_at_the_edge_of_a_domain_the_slope_inside_counts():
    def guarded(t):
        return np.array([np.sin(1 + t), np.exp(-t)]) if t <= 0 else np.full(2, np.nan)

    value, error = derivative(guarded, 1.0, EPS)
    np.testing.assert_allclose(value, [np.cos(1), -1], rtol=1e-8)
    assert (abs(value - [np.cos(1), -1]) <= np.maximum(2 * error, 1e-12)).all()


def test_steps_go_down_far_enough_for_what_varies_within_a_hundred_millionth_of_the_input():
    value, error = derivative(lambda t: np.tanh(np.asarray(1e8 + t) - 1e8), 1e8, EPS)
    assert value == pytest.approx(1.0, rel=1e-7)
    assert error < 1e-6


def test_the_complex_step_is_exact_to_rounding_and_knows_when_it_cannot_be_taken():
    assert complex_step(lambda t: np.exp(1.5 + t), 1.5) == pytest.approx(np.exp(1.5), rel=1e-15)
    assert complex_step(lambda t: np.asarray(abs(1.5 + t)), 1.5) is None

    def refuses(t):
        raise TypeError("no complex numbers, please")

    assert complex_step(refuses, 1.0) is None
