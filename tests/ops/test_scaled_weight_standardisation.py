"""scaled_weight_standardisation: standardised weights that keep the variance of the activations."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(10)


def test_it_is_the_plain_one_times_gain_over_the_root_of_the_fan_in():
    weight, gain = RNG.standard_normal((3, 2, 4, 5)), RNG.standard_normal(5)
    y, _ = ops.scaled_weight_standardisation_forward(weight, gain, 1e-6)
    expected = ops.weight_standardisation_forward(weight, 1e-6)[0] * gain / np.sqrt(24)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_the_variance_of_activations_is_kept():
    """Brock et al. 2021a, section 4: with inputs of mean 0 and variance 1, outputs have variance 1."""
    weight = ops.scaled_weight_standardisation_forward(RNG.standard_normal((3, 3, 16, 32)), np.ones(32))[0]
    y, _ = ops.convolution_forward(RNG.standard_normal((8, 8, 8, 16)), weight)
    assert y.var() == pytest.approx(1, abs=0.05)


def test_the_gradient_is_right():
    forward, backward = ops.scaled_weight_standardisation_forward, ops.scaled_weight_standardisation_backward
    inputs = RNG.standard_normal((2, 2, 2, 3)), RNG.standard_normal(3)
    check_operation(forward, backward, *inputs, vary=False).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected gain of shape \(O,\) with O=4, got \(3,\)"):
        ops.scaled_weight_standardisation_forward(np.ones((1, 1, 3, 4)), np.ones(3))
