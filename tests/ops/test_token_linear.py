"""token_linear: W x + b from the left, over the tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)
sizes = st.integers(1, 7)


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


@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 1, 1)])
def test_the_gradient_is_right(shape):
    x, weight, bias = RNG.standard_normal(shape), RNG.standard_normal((5, 4)), RNG.standard_normal(5)
    check_operation(ops.token_linear_forward, ops.token_linear_backward, x, weight, bias).raise_if_failed()


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((49, 8, 128), (32, 64), (32,), "expected x of shape (S, B, C) with S=64, got (49, 8, 128)"),
        ((64, 8), (32, 64), (32,), "expected x of shape (S, B, C) with S=64, got (64, 8)"),
        ((64, 8, 128), (32, 64), (64,), "expected bias of shape (DS,) with DS=32, got (64,)"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(x, weight, bias, message):
    with pytest.raises(ShapeError) as caught:
        ops.token_linear_forward(np.ones(x), np.ones(weight), np.ones(bias))
    assert message in str(caught.value)


def test_an_output_gradient_of_another_shape_is_refused():
    _, cache = ops.token_linear_forward(np.ones((4, 2, 3)), np.ones((5, 4)), np.ones(5))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(DS, B, C\) with DS=5, B=2, C=3, got \(4, 2, 3\)"):
        ops.token_linear_backward(np.ones((4, 2, 3)), cache)
