"""weight_standardisation: the weights of each output, with mean 0 and variance 1."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(9)


def test_each_output_has_mean_0_and_variance_1():
    y, _ = ops.weight_standardisation_forward(3 + RNG.standard_normal((3, 3, 4, 5)))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-8)


def test_neither_shift_nor_scale_of_an_outputs_weights_counts():
    weight = RNG.standard_normal((2, 2, 3, 4))
    moved = ops.weight_standardisation_forward(7 * weight - 2)[0]
    np.testing.assert_allclose(moved, ops.weight_standardisation_forward(weight)[0], rtol=1e-8)


def test_the_gradient_is_right():
    forward, backward = ops.weight_standardisation_forward, ops.weight_standardisation_backward
    check_operation(forward, backward, RNG.standard_normal((2, 2, 2, 3)), vary=False).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected weight of shape \(kh, kw, I, O\), got \(3, 4\)"):
        ops.weight_standardisation_forward(np.ones((3, 4)))
