"""position_embedding: a learned vector for each place, added to the token there."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(5)


def test_values_every_image_gets_the_same_embedding():
    x, embedding = RNG.standard_normal((4, 3, 2)), RNG.standard_normal((4, 2))
    y, _ = ops.position_embedding_forward(x, embedding)
    for image in range(3):
        np.testing.assert_array_equal(y[:, image], x[:, image] + embedding)


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 2, 3), (5, 1, 1)])
def test_the_gradient_is_right(shape):
    inputs = RNG.standard_normal(shape), RNG.standard_normal((shape[0], shape[2]))
    report = check_operation(ops.position_embedding_forward, ops.position_embedding_backward, *inputs)
    report.raise_if_failed()


def test_in_float16_the_sum_over_images_is_made_in_float32():
    """1,024 images each give 2 + 2^-9: in float16 the small part would be lost on the way."""
    _, cache = ops.position_embedding_forward(np.zeros((1, 1024, 1), "float16"), np.zeros((1, 1), "float16"))
    _, dembedding = ops.position_embedding_backward(np.full((1, 1024, 1), 2 + 2**-9, "float16"), cache)
    np.testing.assert_array_equal(dembedding, np.float16(2048 + 2))


def test_a_wrong_shape_is_said_in_letters():
    with pytest.raises(ShapeError, match=r"expected embedding of shape \(S, C\) with S=4, C=2, got \(5, 2\)"):
        ops.position_embedding_forward(np.ones((4, 3, 2)), np.ones((5, 2)))
    _, cache = ops.position_embedding_forward(np.ones((4, 3, 2)), np.ones((4, 2)))
    with pytest.raises(ShapeError, match=r"expected dy of shape \(S, B, C\) with S=4, B=3, C=2, got \(4, 2\)"):
        ops.position_embedding_backward(np.ones((4, 2)), cache)
