"""images_to_patches: images cut into patches, tokens first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)
sizes = st.integers(1, 4)


@given(down=sizes, across=sizes, patch=sizes, count=st.integers(1, 7), channels=st.integers(1, 3))
def test_patches_are_what_a_loop_would_cut_and_go_back(down, across, patch, count, channels):
    images = RNG.standard_normal((count, down * patch, across * patch, channels))
    patches, cache = ops.images_to_patches_forward(images, patch)
    assert not np.shares_memory(patches, images)
    for row in range(down):
        for column in range(across):
            window = images[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            np.testing.assert_array_equal(patches[row * across + column], window.reshape(count, -1))
    back = ops.images_to_patches_backward(patches, cache)
    np.testing.assert_array_equal(back, images)
    assert not np.shares_memory(back, patches)


@pytest.mark.parametrize(("shape", "patch_size"), [((2, 4, 6, 3), 2), ((1, 3, 3, 1), 3)])
def test_the_gradient_is_right(shape, patch_size):
    forward, backward = ops.images_to_patches_forward, ops.images_to_patches_backward
    check_operation(forward, backward, RNG.standard_normal(shape), patch_size).raise_if_failed()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 32, 30, 3), "patch size 4 does not divide the image, which is 32 x 30 pixels"),
        ((32, 32, 3), "expected images of shape (B, height, width, channels), got (32, 32, 3)"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(shape, message):
    with pytest.raises(ShapeError) as caught:
        ops.images_to_patches_forward(np.ones(shape), 4)
    assert message in str(caught.value)


def test_a_gradient_of_another_shape_is_refused():
    _, cache = ops.images_to_patches_forward(np.ones((2, 4, 6, 3)), 2)
    with pytest.raises(ShapeError, match=r"expected dpatches of shape \(S, B, features\) with S=6, B=2, features=12"):
        ops.images_to_patches_backward(np.ones((6, 2, 11)), cache)
