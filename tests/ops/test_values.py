"""Operations against closed forms, naive loops and their stated properties; gradients are tests/gradcheck's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.ops.normal_distribution import normal_cdf

RNG = np.random.default_rng(1)
sizes = st.integers(1, 7)


def test_normal_cdf_is_exact_to_double_precision():
    x = np.linspace(-37, 37, 5001)
    expected = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    np.testing.assert_allclose(normal_cdf(x), expected, rtol=1e-12, atol=4e-16)


def test_gelu_forms_differ_by_what_the_paper_says():
    x = np.linspace(-6, 6, 2001)
    tanh_form, erf_form = ops.gelu_tanh_forward(x)[0], ops.gelu_erf_forward(x)[0]
    np.testing.assert_allclose(erf_form, [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x], atol=1e-14)
    assert 1e-4 < np.abs(tanh_form - erf_form).max() < 5e-4


@given(tokens=sizes, images=sizes, channels=sizes, outputs=sizes)
def test_token_linear_is_transpose_linear_transpose(tokens, images, channels, outputs):
    x = RNG.standard_normal((tokens, images, channels))
    weight, bias = RNG.standard_normal((outputs, tokens)), RNG.standard_normal(outputs)
    y, cache = ops.token_linear_forward(x, weight, bias)

    familiar, familiar_cache = ops.linear_forward(x.transpose(1, 2, 0), weight.T, bias)  # (B, C, S) -> (B, C, DS)
    np.testing.assert_allclose(y, familiar.transpose(2, 0, 1), rtol=1e-12, atol=1e-12)

    dy = RNG.standard_normal(y.shape)
    dx, dweight, dbias = ops.token_linear_backward(dy, cache)
    familiar_dx, familiar_dweight, familiar_dbias = ops.linear_backward(dy.transpose(1, 2, 0), familiar_cache)
    np.testing.assert_allclose(dx, familiar_dx.transpose(2, 0, 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dweight, familiar_dweight.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dbias, familiar_dbias, rtol=1e-12, atol=1e-12)


@given(
    down=st.integers(1, 4), across=st.integers(1, 4), patch=st.integers(1, 4), count=sizes, channels=st.integers(1, 3)
)
def test_patches_are_what_a_loop_would_cut_and_go_back(down, across, patch, count, channels):
    images = RNG.standard_normal((count, down * patch, across * patch, channels))
    patches, cache = ops.images_to_patches_forward(images, patch)
    assert not np.shares_memory(patches, images)
    for row in range(down):
        for column in range(across):
            window = images[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            np.testing.assert_array_equal(patches[row * across + column], window.reshape(count, -1))
    back = ops.images_to_patches_backward(patches, cache)
    np.testing.assert_array_equal(back, images)
    assert not np.shares_memory(back, patches)


def test_layer_norm_normalises_and_survives_a_large_offset():
    x = RNG.standard_normal((5, 64)).astype("float32") + np.float32(1000)
    y, _ = ops.layer_norm_forward(x, np.ones(64, "float32"), np.zeros(64, "float32"))
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(axis=1), 1, rtol=1e-3)


def test_layer_norm_in_float16_sums_in_float32():
    x = np.full((1, 4096), 30, "float16")  # the squares' sum, 3.7e6, is beyond float16
    x[0, ::2] = -30
    y, _ = ops.layer_norm_forward(x, np.ones(4096, "float16"), np.zeros(4096, "float16"))
    np.testing.assert_allclose(np.abs(y), 1, rtol=1e-3)


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


@given(down=st.integers(1, 5), across=st.integers(1, 5), images=st.integers(1, 3), channels=st.integers(1, 3))
def test_pooling_is_what_a_loop_over_neighbours_would_find(down, across, images, channels):
    x = RNG.standard_normal((down * across, images, channels))
    y, cache = ops.pool_tokens_forward(x, (down, across))
    grid, expected = x.reshape(down, across, images, channels), np.empty((down, across, images, channels))
    for row in range(down):
        for column in range(across):
            window = grid[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            expected[row, column] = window.mean(axis=(0, 1)) - grid[row, column]
    np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=1e-12, atol=1e-12)
    dy = RNG.standard_normal(x.shape)
    assert np.sum(dy * y) == pytest.approx(np.sum(ops.pool_tokens_backward(dy, cache) * x), abs=1e-10)  # it is linear


def test_pooling_leaves_what_is_the_same_everywhere():
    y, _ = ops.pool_tokens_forward(np.full((12, 2, 3), 7.0, "float32"), (3, 4))
    np.testing.assert_array_equal(y, 0)


def test_dropout_keeps_the_mean():
    x, keep = np.ones((400, 500), "float32"), RNG.random((400, 500)) >= 0.3
    y, cache = ops.dropout_forward(x, keep, 0.3)
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(y == 0, ~keep)
    np.testing.assert_array_equal(ops.dropout_backward(x, cache), y)


def test_drop_path_drops_whole_images():
    x, keep = np.ones((4, 3, 5), "float32"), np.array([True, False, True])
    y, _ = ops.drop_path_forward(x, keep, 0.5)
    np.testing.assert_array_equal(y[:, 1], 0)
    np.testing.assert_array_equal(y[:, [0, 2]], 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.linear_forward(np.ones((2, 3)), np.ones((4, 5)), np.ones(5)),
            "expected x of shape (..., I) with I=4",
        ),
        (
            lambda: ops.linear_forward(np.ones((2, 4)), np.ones((4, 5)), np.ones(4)),
            "expected bias of shape (O,) with O=5",
        ),
        (
            lambda: ops.token_linear_forward(np.ones((49, 8, 128)), np.ones((32, 64)), np.ones(32)),
            "expected x of shape (S, B, C) with S=64, got (49, 8, 128)",
        ),
        (
            lambda: ops.layer_norm_forward(np.ones((2, 3)), np.ones(4), np.ones(3)),
            "expected scale of shape (C,) with C=3",
        ),
        (lambda: ops.images_to_patches_forward(np.ones((1, 32, 30, 3)), 4), "patch size 4 does not divide the image"),
        (lambda: ops.images_to_patches_forward(np.ones((32, 32, 3)), 4), "expected images of shape (B, height, width"),
        (lambda: ops.mean_over_tokens_forward(np.ones((3, 4))), "expected x of shape (S, B, C), got (3, 4)"),
        (lambda: ops.pool_tokens_forward(np.ones((5, 2, 3)), (2, 3)), "2 x 3 patches has 6 tokens, got x with S=5"),
        (lambda: ops.softmax_cross_entropy_forward(np.ones((3, 4)), np.ones(2, int)), "expected targets of shape (B,)"),
        (
            lambda: ops.softmax_cross_entropy_forward(np.ones((3, 4)), np.ones((3, 5))),
            "expected targets of shape (B, K)",
        ),
        (lambda: ops.dropout_forward(np.ones((3, 4)), np.ones((3, 1), bool), 0.5), "expected keep of the shape of x"),
        (
            lambda: ops.drop_path_forward(np.ones((3, 4, 5)), np.ones(3, bool), 0.5),
            "expected keep of shape (B,) with B=4",
        ),
    ],
)
def test_a_wrong_shape_is_said_in_letters(call, message):
    with pytest.raises(ShapeError) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0])
def test_rates_and_smoothing_out_of_range_are_refused(value):
    with pytest.raises(ConfigError, match="below 1"):
        ops.dropout_forward(np.ones(3), np.ones(3, bool), value)
    with pytest.raises(ConfigError, match="below 1"):
        ops.softmax_cross_entropy(np.ones((2, 3)), np.zeros(2, int), value)
