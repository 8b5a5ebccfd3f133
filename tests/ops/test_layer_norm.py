"""layer_norm: each row of channels normalised, then scaled and shifted."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


def test_values_are_those_of_a_loop_over_rows():
    x, scale, bias = RNG.standard_normal((3, 2, 5)), RNG.standard_normal(5), RNG.standard_normal(5)
    y, _ = ops.layer_norm_forward(x, scale, bias, 0.1)
    for row, expected in zip(x.reshape(6, 5), y.reshape(6, 5), strict=True):
        np.testing.assert_allclose(expected, scale * (row - row.mean()) / np.sqrt(row.var() + 0.1) + bias, rtol=1e-12)


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


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 5), (2, 1)])
def test_the_gradient_is_right(shape):
    channels = shape[-1]
    x, scale, bias = RNG.standard_normal(shape), RNG.standard_normal(channels), RNG.standard_normal(channels)
    check_operation(ops.layer_norm_forward, ops.layer_norm_backward, x, scale, bias).raise_if_failed()


@pytest.mark.parametrize(
    ("scale", "bias", "message"),
    [
        ((4,), (3,), "expected scale of shape (C,) with C=3, got (4,)"),
        ((3,), (1, 3), "expected bias of shape (C,) with C=3, got (1, 3)"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(scale, bias, message):
    with pytest.raises(ShapeError) as caught:
        ops.layer_norm_forward(np.ones((2, 3)), np.ones(scale), np.ones(bias))
    assert message in str(caught.value)
