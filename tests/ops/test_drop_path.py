"""drop_path: the residual branch of whole images dropped (stochastic depth)."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


def test_drop_path_drops_whole_images():
    x, keep = np.ones((4, 3, 5), "float32"), np.array([True, False, True])
    y, _ = ops.drop_path_forward(x, keep, 0.5)
    np.testing.assert_array_equal(y[:, 1], 0)
    np.testing.assert_array_equal(y[:, [0, 2]], 2)


def test_it_is_dropout_with_one_mask_entry_for_an_image():
    x, keep = RNG.standard_normal((4, 3, 5)), np.array([False, True, True])
    y, cache = ops.drop_path_forward(x, keep, 0.25)
    same, same_cache = ops.dropout_forward(x, np.broadcast_to(keep[:, None], x.shape), 0.25)
    np.testing.assert_array_equal(y, same)
    dy = RNG.standard_normal(x.shape)
    np.testing.assert_array_equal(ops.drop_path_backward(dy, cache), ops.dropout_backward(dy, same_cache))


def test_the_gradient_is_right():
    x, keep = RNG.standard_normal((4, 3, 5)), np.array([True, False, True])
    check_operation(ops.drop_path_forward, ops.drop_path_backward, x, keep, 0.3).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected keep of shape \(B,\) with B=4, got \(3,\)"):
        ops.drop_path_forward(np.ones((3, 4, 5)), np.ones(3, bool), 0.5)
    with pytest.raises(ShapeError, match=r"expected x of shape \(S, B, C\), got \(3, 4\)"):
        ops.drop_path_forward(np.ones((3, 4)), np.ones(4, bool), 0.5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ConfigError, match="the drop_path rate must be at least 0 and below 1"):
        ops.drop_path_forward(np.ones((2, 3, 4)), np.ones(3, bool), rate)
