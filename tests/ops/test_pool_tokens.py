"""pool_tokens: the mean of each token's neighbourhood, less the token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


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


@pytest.mark.parametrize("grid", [(2, 3), (1, 1), (1, 4), (3, 3)])
def test_the_gradient_is_right(grid):
    x = RNG.standard_normal((grid[0] * grid[1], 2, 3))
    check_operation(ops.pool_tokens_forward, ops.pool_tokens_backward, x, grid).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match="2 x 3 patches has 6 tokens, got x with S=5"):
        ops.pool_tokens_forward(np.ones((5, 2, 3)), (2, 3))
    with pytest.raises(ShapeError, match=r"expected x of shape \(S, B, C\), got \(6, 2\)"):
        ops.pool_tokens_forward(np.ones((6, 2)), (2, 3))
