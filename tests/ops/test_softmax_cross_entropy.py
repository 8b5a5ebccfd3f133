"""softmax_cross_entropy: the mean cross-entropy between softmax(logits) and the targets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ConfigError, DataError, ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)
sizes = st.integers(1, 7)


def test_cross_entropy_of_equal_logits_is_log_k():
    loss, dlogits = ops.softmax_cross_entropy(np.zeros((6, 10)), np.arange(6))
    assert loss == pytest.approx(math.log(10))
    expected = np.full((6, 10), 0.1 / 6)
    expected[np.arange(6), np.arange(6)] -= 1 / 6
    np.testing.assert_allclose(dlogits, expected)


def test_cross_entropy_is_stable_for_huge_logits():
    loss, dlogits = ops.softmax_cross_entropy(np.array([[1e4, -1e4], [0.0, 1e4]], "float32"), np.array([0, 0]))
    assert loss == pytest.approx(5e3)
    assert np.isfinite(dlogits).all()


@given(images=sizes, classes=sizes, smoothing=st.floats(0, 0.9))
def test_integer_targets_are_one_hot_rows(images, classes, smoothing):
    logits, labels = RNG.standard_normal((images, classes)), RNG.integers(0, classes, images)
    by_label = ops.softmax_cross_entropy(logits, labels, smoothing)
    by_row = ops.softmax_cross_entropy(logits, np.eye(classes)[labels], smoothing)
    smoothed = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    by_hand = ops.softmax_cross_entropy(logits, smoothed)
    for other in (by_row, by_hand):
        assert by_label[0] == pytest.approx(other[0])
        np.testing.assert_allclose(by_label[1], other[1], atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [np.array([1, 3, 0]), np.full((3, 4), 0.25)])
def test_the_gradient_is_right(targets, smoothing):
    forward, backward = ops.softmax_cross_entropy_forward, ops.softmax_cross_entropy_backward
    # targets and smoothing are constants: only the logits are differentiated by
    report = check_operation(forward, backward, RNG.standard_normal((3, 4)), targets, smoothing, differentiate=[0])
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.ones(2, int), "expected targets of shape (B,) with B=3, got (2,)"),
        (np.ones((3, 5)), "expected targets of shape (B, K) with B=3, K=4, got (3, 5)"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(targets, message):
    with pytest.raises(ShapeError) as caught:
        ops.softmax_cross_entropy_forward(np.ones((3, 4)), targets)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 4, 1]), "expected targets from 0 to 3, one of 4 classes, got 4"),
        (np.array([0, -1, 1]), "expected targets from 0 to 3, one of 4 classes, got -1"),
        (np.array([0.0, 1.0, 2.0]), "expected targets that are whole numbers"),
    ],
)
def test_labels_that_name_no_class_are_refused(labels, message):
    with pytest.raises(DataError) as caught:
        ops.softmax_cross_entropy_forward(np.ones((3, 4)), labels)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0])
def test_a_smoothing_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match="below 1"):
        ops.softmax_cross_entropy(np.ones((2, 3)), np.zeros(2, int), value)
