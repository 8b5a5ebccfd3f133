"""group_norm: groups of channels of each image."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(8)


def test_each_group_is_what_layer_norm_would_make_of_it():
    x, scale, bias = RNG.standard_normal((2, 3, 4, 6)), RNG.standard_normal(6), RNG.standard_normal(6)
    y, _ = ops.group_norm_forward(x, scale, bias, 3, 1e-5)
    for group in range(3):
        part = slice(2 * group, 2 * group + 2)
        rows = x[..., part].reshape(2, -1)
        expected = ops.layer_norm_forward(rows, np.ones(24), np.zeros(24), 1e-5)[0].reshape(2, 3, 4, 2)
        np.testing.assert_allclose(y[..., part], scale[part] * expected + bias[part], rtol=1e-11, atol=1e-12)


def test_an_image_does_not_depend_on_the_others():
    x, ones = RNG.standard_normal((3, 2, 2, 4)), np.ones(4)
    alone = [ops.group_norm_forward(x[i : i + 1], ones, ones, 2)[0][0] for i in range(3)]
    np.testing.assert_allclose(ops.group_norm_forward(x, ones, ones, 2)[0], alone, rtol=1e-13)


def test_the_gradient_is_right():
    inputs = RNG.standard_normal((2, 2, 3, 4)), RNG.standard_normal(4), RNG.standard_normal(4), 2
    check_operation(ops.group_norm_forward, ops.group_norm_backward, *inputs, vary=False).raise_if_failed()


def test_groups_must_divide_the_channels():
    with pytest.raises(ShapeError, match="expected groups that divide the 4 channels, got 3"):
        ops.group_norm_forward(np.ones((1, 2, 2, 4)), np.ones(4), np.ones(4), 3)
