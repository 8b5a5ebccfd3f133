"""relu: what is positive."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import BackendError
from tinymixer.gradcheck import check_operation


def test_values_and_the_gradient_at_the_kink():
    y, cache = ops.relu_forward(np.array([-2.0, 0.0, 3.0, np.nan]))
    np.testing.assert_array_equal(y, [0, 0, 3, np.nan])
    np.testing.assert_array_equal(ops.relu_backward(np.array([5.0, 6.0, 7.0, 8.0]), cache), [0, 0, 7, 0])


def test_the_gradient_is_right_with_zeros_among_the_inputs():
    x = np.array([[-1.5, 0.0, 2.0], [0.0, 0.5, -0.25]])
    check_operation(ops.relu_forward, ops.relu_backward, x).raise_if_failed()


def test_what_is_no_array_is_refused():
    with pytest.raises(BackendError, match="expected an array"):
        ops.relu_forward("text")
