"""images_to_windows: overlapping windows with a reflected border, tokens first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(1)
sizes = st.integers(1, 4)


@given(down=sizes, across=sizes, patch=sizes, count=st.integers(1, 3), channels=st.integers(1, 3), data=st.data())
def test_windows_are_what_a_loop_would_cut_from_the_padded_image(down, across, patch, count, channels, data):
    height, width = down * patch, across * patch
    overlap = data.draw(st.integers(0, min(height, width) - 1))
    images = RNG.standard_normal((count, height, width, channels))
    windows, cache = ops.images_to_windows_forward(images, patch, overlap)
    size, around = patch + 2 * overlap, (overlap, overlap)
    padded = np.pad(images, ((0, 0), around, around, (0, 0)), mode="reflect")
    assert windows.shape == (down * across, count, size * size * channels)
    for row in range(down):
        for column in range(across):
            window = padded[:, row * patch : row * patch + size, column * patch : column * patch + size]
            np.testing.assert_array_equal(windows[row * across + column], window.reshape(count, -1))
    dwindows = RNG.standard_normal(windows.shape)
    dimages = ops.images_to_windows_backward(dwindows, cache)
    assert dimages.shape == images.shape
    assert dimages.flags.c_contiguous
    np.testing.assert_allclose((dimages * images).sum(), (dwindows * windows).sum(), rtol=1e-9, atol=1e-9)  # adjoint
    assert not np.shares_memory(windows, images)
    assert not np.shares_memory(dimages, dwindows)


def test_without_overlap_they_are_exactly_the_patches():
    images = RNG.standard_normal((2, 4, 6, 3)).astype("float32")
    windows, cache = ops.images_to_windows_forward(images, 2, 0)
    patches, patches_cache = ops.images_to_patches_forward(images, 2)
    np.testing.assert_array_equal(windows, patches)
    gradients = ops.images_to_windows_backward(patches, cache), ops.images_to_patches_backward(patches, patches_cache)
    np.testing.assert_array_equal(*gradients)


def test_a_row_of_pixels_by_hand():
    """Pixels 1 2 3 4 in patches of 2, one pixel further on each side: 2 1 2 3 and 2 3 4 3."""
    image = np.arange(1.0, 5).reshape(1, 1, 4, 1).repeat(2, axis=1)
    windows, cache = ops.images_to_windows_forward(np.concatenate([image, image], axis=1), 2, 1)
    np.testing.assert_array_equal(windows[:2, 0].reshape(2, 4, 4)[:, 0], [[2, 1, 2, 3], [2, 3, 4, 3]])
    dimages = ops.images_to_windows_backward(np.ones_like(windows), cache)
    reads = np.array([1, 3, 3, 1])  # how many places read each pixel of a row
    np.testing.assert_array_equal(dimages[0, :, :, 0], np.outer(reads, reads))


@pytest.mark.parametrize(("shape", "numbers"), [((2, 4, 6, 3), (2, 1)), ((1, 3, 3, 1), (3, 2)), ((1, 4, 4, 1), (1, 3))])
def test_the_gradient_is_right(shape, numbers):
    forward, backward = ops.images_to_windows_forward, ops.images_to_windows_backward
    check_operation(forward, backward, RNG.standard_normal(shape), *numbers).raise_if_failed()


def test_half_precision_adds_up_in_float32():
    dwindows = np.full((16, 1, 49), 1 + 2**-10, "float16")
    _, cache = ops.images_to_windows_forward(np.ones((1, 4, 4, 1), "float16"), 1, 3)
    narrow = ops.images_to_windows_backward(dwindows, cache)
    exact = ops.images_to_windows_backward(dwindows.astype("float64"), cache)
    assert narrow.dtype == "float16"
    np.testing.assert_array_equal(narrow, exact.astype("float16"))


@pytest.mark.parametrize(
    ("shape", "overlap", "message"),
    [
        ((1, 32, 30, 3), 1, "patch size 4 does not divide the image, which is 32 x 30 pixels"),
        ((32, 32, 3), 1, "expected images of shape (B, height, width, channels), got (32, 32, 3)"),
        ((1, 4, 8, 1), 4, "an image of 4 x 8 pixels can be reflected by 0 to 3 pixels, got an overlap of 4"),
        ((1, 4, 8, 1), -1, "got an overlap of -1"),
    ],
)
def test_a_wrong_shape_is_said_in_letters(shape, overlap, message):
    with pytest.raises(ShapeError) as caught:
        ops.images_to_windows_forward(np.ones(shape), 4, overlap)
    assert message in str(caught.value)


def test_a_gradient_of_another_shape_is_refused():
    _, cache = ops.images_to_windows_forward(np.ones((2, 4, 6, 3)), 2, 1)
    with pytest.raises(ShapeError, match=r"expected dwindows of shape \(S, B, features\) with S=6, B=2, features=48"):
        ops.images_to_windows_backward(np.ones((6, 2, 12)), cache)
