"""dropout: single entries zeroed, the others made larger."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)


def test_values_are_those_of_the_formula():
    x, keep = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    np.testing.assert_allclose(ops.dropout_forward(x, keep, 0.75)[0], [4, 0, 12])


def test_dropout_keeps_the_mean():
    x, keep = np.ones((400, 500), "float32"), RNG.random((400, 500)) >= 0.3
    y, cache = ops.dropout_forward(x, keep, 0.3)
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(y == 0, ~keep)
    np.testing.assert_array_equal(ops.dropout_backward(x, cache), y)


def test_the_gradient_is_right():
    x, keep = RNG.standard_normal((4, 3, 5)), RNG.random((4, 3, 5)) > 0.5
    check_operation(ops.dropout_forward, ops.dropout_backward, x, keep, 0.3).raise_if_failed()


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"expected keep of the shape of x, \(3, 4\), got \(3, 1\)"):
        ops.dropout_forward(np.ones((3, 4)), np.ones((3, 1), bool), 0.5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ConfigError, match="the dropout rate must be at least 0 and below 1"):
        ops.dropout_forward(np.ones(3), np.ones(3, bool), rate)
