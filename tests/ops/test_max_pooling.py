"""max_pooling: the largest value of each window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(3)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(3, 7), width=st.integers(3, 7), size=st.integers(1, 3), stride=st.integers(1, 3))
def test_it_is_what_a_loop_over_windows_would_find(height, width, size, stride):
    x, padding = RNG.standard_normal((2, height, width, 3)), size // 2
    frame = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    framed = np.pad(x, frame, constant_values=-np.inf)
    y, cache = ops.max_pooling_forward(x, size, stride, padding)
    dy, dframed = RNG.standard_normal(y.shape), np.zeros(framed.shape)
    for (b, u, v, c), largest in np.ndenumerate(y):
        window = framed[b, u * stride : u * stride + size, v * stride : v * stride + size, c]
        assert largest == window.max()
        i, j = np.unravel_index(window.argmax(), window.shape)
        dframed[b, u * stride + i, v * stride + j, c] += dy[b, u, v, c]
    inside = dframed[:, padding : padding + height, padding : padding + width]
    np.testing.assert_allclose(ops.max_pooling_backward(dy, cache), inside, rtol=1e-12, atol=1e-12)


def test_of_equal_values_the_first_receives_the_gradient():
    y, cache = ops.max_pooling_forward(np.full((1, 2, 4, 1), 5.0), 2, 2)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 1), 5.0))
    dx = ops.max_pooling_backward(np.array([3.0, 4.0]).reshape(1, 1, 2, 1), cache)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[3, 0, 4, 0], [0, 0, 0, 0]])


def test_what_is_no_number_is_not_hidden():
    x = np.zeros((1, 2, 2, 1))
    x[0, 1, 1] = np.nan
    assert np.isnan(ops.max_pooling_forward(x, 2, 2)[0]).all()


@pytest.mark.parametrize("ties", [False, True])
def test_the_gradient_is_right(ties):
    x = RNG.standard_normal((2, 5, 4, 2))
    x = np.maximum(x, 0) if ties else x
    check_operation(ops.max_pooling_forward, ops.max_pooling_backward, x, 3, 2, 1, vary=False).raise_if_failed()


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="at most half the window's size 3, got 2"):
        ops.max_pooling_forward(np.ones((1, 4, 4, 1)), 3, 1, 2)
    with pytest.raises(ShapeError, match="does not fit into an image of 2 x 2"):
        ops.max_pooling_forward(np.ones((1, 2, 2, 1)), 3, 1)
