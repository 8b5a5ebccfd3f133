"""check_operation on functions that are not this package's: kinks, constants, large inputs, and bad use."""

import numpy as np
import pytest

from tests.gradcheck.device_arrays import LIBRARY, DeviceArray
from tinymixer import ops
from tinymixer.gradcheck import GradientCheckError, NotCheckableError, check_operation

RNG = np.random.default_rng(20)


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dy, x):
    return dy * (x > 0)


def exp_forward(x):
    y = np.exp(x)
    return y, y.copy()


def exp_backward(dy, y):
    return dy * y


def checks(report, name):
    return [row for row in report.rows if row.check == name]


@pytest.mark.parametrize(
    "x",
    [np.array([0.0, -0.0, 1.0, -1.0, 1e-4, -1e-8]), RNG.standard_normal((7, 9)), RNG.standard_normal(50_000)],
    ids=["on the kink", "small", "large"],
)
def test_relu_passes_at_and_around_its_kink(x):
    report = check_operation(relu_forward, relu_backward, x)
    assert report.passed, str(report)


def test_relu_with_the_wrong_side_of_the_kink_is_caught():
    report = check_operation(relu_forward, lambda dy, x: dy * (x < 0), np.array([0.0, 1.0, -2.0]))
    assert not report.passed
    assert report.failures[0].where != "y[0] by x[0]"  # at 0 itself either slope is a gradient


def test_the_absolute_value_is_not_analytic_and_no_alarm_is_raised():
    report = check_operation(lambda x: (np.abs(x), x), lambda dy, x: dy * np.sign(x), np.array([-2.0, 0.5, 3.0]))
    assert report.passed, str(report)
    assert [row.verdict for row in checks(report, "complex step")] == ["n/a"]


def test_the_complex_step_is_used_where_it_applies_and_is_sharper():
    x = RNG.standard_normal((3, 4))
    report = check_operation(exp_forward, exp_backward, x)
    (row,) = checks(report, "complex step")
    assert row.applied
    assert row.error < 1e-14
    slightly_off = check_operation(exp_forward, lambda dy, y: dy * y * (1 + 3e-8), x)
    assert [row.check for row in slightly_off.failures] == ["complex step"]


def test_a_derivative_that_fails_only_for_complex_numbers_is_not_believed():
    """x^2 taken as |x|^2 is right for real x; its complex step is 0."""
    report = check_operation(lambda x: (np.abs(x) ** 2 + 0 * x, x), lambda dy, x: 2 * dy * x, RNG.standard_normal(5))
    assert report.passed, str(report)
    assert not checks(report, "complex step")[0].applied


@pytest.mark.parametrize("x", [np.array([30.0, -30.0, 1e-3]), np.array([1e-6]), np.array(0.5), np.array([[-700.0]])])
def test_exp_passes_over_many_magnitudes(x):
    report = check_operation(exp_forward, exp_backward, x)
    assert report.passed, str(report)


def test_an_input_with_a_bounded_domain_is_not_left():
    report = check_operation(lambda x: (np.log(x), x), lambda dy, x: dy / x, np.array([1e-3, 0.5, 100.0]))
    assert report.passed, str(report)


def test_positional_and_keyword_constants_are_not_differentiated():
    logits, soft = RNG.standard_normal((3, 4)), np.full((3, 4), 0.25)
    pair = ops.softmax_cross_entropy_forward, ops.softmax_cross_entropy_backward
    by_position = check_operation(*pair, logits, np.array([0, 3, 1]), 0.1)
    by_keyword = check_operation(*pair, logits, targets=soft, label_smoothing=0.1)
    by_choice = check_operation(*pair, logits, soft, differentiate=[0])
    for report in (by_position, by_keyword, by_choice):
        assert report.passed, str(report)
        assert len(checks(report, "jacobian")) == 1


def test_a_large_input_is_checked_at_its_corners_and_along_directions():
    x = RNG.standard_normal((60, 50))

    def corner_wrong(dy, y):
        dx = dy * y
        dx[-1, -1] = 0
        return dx

    assert check_operation(exp_forward, exp_backward, x).passed
    failures = check_operation(exp_forward, corner_wrong, x).failures
    assert "x[59, 49]" in {row.where for row in failures}
    assert "directions" in {row.check for row in failures}


def test_the_same_seed_gives_the_same_report():
    x = RNG.standard_normal((30, 20))
    first, second, other = (check_operation(exp_forward, exp_backward, x, seed=seed) for seed in (1, 1, 2))
    assert first.to_rows() == second.to_rows()
    assert first.to_rows() != other.to_rows()


def test_the_inputs_are_left_as_they_were():
    x, labels = RNG.standard_normal((3, 4)), np.array([0, 3, 1])
    kept = x.copy(), labels.copy()
    check_operation(ops.softmax_cross_entropy_forward, ops.softmax_cross_entropy_backward, x, labels)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(labels, kept[1])
    assert x.flags.writeable
    assert labels.flags.writeable


def test_a_forward_that_writes_into_its_labels_is_caught():
    def forward(x, labels):
        labels += 1
        return x * 2.0, None

    report = check_operation(forward, lambda dy, cache: dy * 2.0, RNG.standard_normal(3), np.array([0, 1, 2]))
    assert [row.check for row in report.failures] == ["inputs untouched"]


def test_a_forward_that_computes_in_float32_is_caught():
    report = check_operation(
        lambda x: ((x.astype("float32") ** 2).astype(x.dtype), x), lambda dy, x: 2 * x * dy, RNG.standard_normal((3, 4))
    )
    assert {"jacobian", "random cotangent"} <= {row.check for row in report.failures}


def test_a_forward_that_jumps_where_it_is_checked_is_said_to():
    report = check_operation(lambda x: (np.sign(x) + x, None), lambda dy, cache: dy.copy(), np.array([0.0, 1.0]))
    assert [row.check for row in report.failures] == ["jacobian", "random cotangent"]
    assert "do not settle: the forward jumps" in report.failures[0].note


def test_a_forward_that_draws_random_numbers_is_caught():
    generator = np.random.default_rng(0)
    report = check_operation(
        lambda x: (x * generator.random(x.shape), None), lambda dy, cache: dy * 0.5, RNG.standard_normal((3, 4))
    )
    assert {"same answer twice", "jacobian"} <= {row.check for row in report.failures}


def test_an_output_that_is_not_finite_is_named():
    x = np.array([1.0, 0.0, 2.0])
    with np.errstate(divide="ignore"):
        report = check_operation(lambda x: (1 / x, x), lambda dy, x: -dy / x**2, x)
    (failure,) = report.failures
    assert failure.check == "finite output"
    assert failure.where == "y[1]"
    with pytest.raises(GradientCheckError, match=r"y\[1\].*the forward gives inf"):
        report.raise_if_failed()


def test_an_array_library_that_is_not_numpy_is_checked_by_the_same_code():
    """Arrays that only come to the host by .get(), like CuPy's."""
    x, weight, bias = (LIBRARY.asarray(RNG.standard_normal(shape)) for shape in ((3, 2, 5), (5, 4), 4))
    report = check_operation(ops.linear_forward, ops.linear_backward, x, weight, bias)
    assert report.passed, str(report)
    scaled = check_operation(
        ops.linear_forward, lambda dy, cache: [2 * g for g in ops.linear_backward(dy, cache)], x, weight, bias
    )
    assert not scaled.passed
    overwritten = check_operation(_square_in_place, lambda dy, x: 2 * x * dy, x)
    assert "inputs untouched" in {row.check for row in overwritten.failures}


def _square_in_place(x):
    assert isinstance(x, DeviceArray)
    before = x.copy()
    x[...] = x * x
    return x.copy(), before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.array([1, 2]),), "has no input to differentiate by: expected at least one array of floats, got int64"),
        ((), "has no input to differentiate by: expected at least one array of floats, got nothing"),
        ((2.0,), "got float"),
        ((np.zeros((0, 3)),), "x is empty"),
    ],
)
def test_inputs_that_cannot_be_differentiated_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(NotCheckableError, match=sentence):
        check_operation(exp_forward, exp_backward, *arguments)


def test_arguments_in_the_wrong_order_are_refused_in_a_sentence():
    with pytest.raises(NotCheckableError, match="a forward and a backward function, in this order"):
        check_operation(np.ones(3), exp_forward, exp_backward)
    with pytest.raises(NotCheckableError, match="differentiate names input 1"):
        check_operation(exp_forward, exp_backward, np.ones(3), differentiate=[1])


@pytest.mark.parametrize(
    ("backward", "sentence"),
    [
        (
            lambda dy, cache: ops.linear_backward(dy, cache)[:2],
            r"returned 2 gradients, expected 3, one for each of x, w",
        ),
        (lambda dy, cache: (dy.T, *ops.linear_backward(dy, cache)[1:]), r"of x has shape \(4, 3\), expected \(3, 5\)"),
        (lambda dy, cache: (None, *ops.linear_backward(dy, cache)[1:]), "of x must be an array, got None"),
    ],
)
def test_gradients_that_do_not_fit_fail_with_a_sentence(backward, sentence):
    inputs = RNG.standard_normal((3, 5)), RNG.standard_normal((5, 4)), RNG.standard_normal(4)
    report = check_operation(ops.linear_forward, backward, *inputs)
    with pytest.raises(GradientCheckError, match=sentence):
        report.raise_if_failed()


def test_a_forward_without_a_cache_fails_with_a_sentence():
    report = check_operation(np.exp, exp_backward, np.ones(3), name="exp")
    assert "the forward of exp must return a pair (output, cache)" in report.failures[0].note
