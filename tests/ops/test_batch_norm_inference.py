"""batch_norm_inference: each channel with statistics that were kept."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(7)


def test_with_the_batches_own_statistics_it_is_batch_norm():
    x, scale, bias = RNG.standard_normal((4, 3, 2, 5)), RNG.standard_normal(5), RNG.standard_normal(5)
    axes = (0, 1, 2)
    y, _ = ops.batch_norm_inference_forward(x, scale, bias, x.mean(axes), x.var(axes), 1e-5)
    np.testing.assert_allclose(y, ops.batch_norm_forward(x, scale, bias, 1e-5)[0], rtol=1e-12, atol=1e-13)


def test_the_gradient_is_right():
    x, vectors = RNG.standard_normal((2, 2, 2, 3)), [RNG.standard_normal(3) for _ in range(3)]
    forward, backward = ops.batch_norm_inference_forward, ops.batch_norm_inference_backward
    statistics = vectors[2], np.array([0.5, 2.0, 1.0])
    check_operation(
        forward, backward, x, *vectors[:2], *statistics, differentiate=[0, 1, 2], vary=False
    ).raise_if_failed()


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected variance of shape \(C,\) with C=3, got \(2,\)"):
        ops.batch_norm_inference_forward(np.ones((2, 3)), np.ones(3), np.ones(3), np.ones(3), np.ones(2))
