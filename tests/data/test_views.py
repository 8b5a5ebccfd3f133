"""The views of test-time augmentation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer.data import Augmentation
from tinymixer.data.views import AS_IT_IS, TTA, View, average_logits, caution, views_of
from tinymixer.errors import ConfigError


def some_images(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@given(
    st.integers(0, 3), st.integers(2, 6), st.integers(2, 6), st.sampled_from([1, 3]), st.sampled_from(TTA["all"]),
    st.sampled_from([np.uint8, np.float32, np.float64]),
)  # fmt: skip
def test_a_view_is_a_crop_of_the_padded_image_mirrored(count, height, width, channels, view, dtype):
    images = some_images(count, height, width, channels, dtype=dtype)
    before = images.copy()
    down, right = view.shift
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    expected = expected[:, :, ::-1] if view.flip else expected
    found = view(images)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(images, before)


def test_a_shift_moves_the_picture_and_the_plain_view_copies_nothing():
    images = some_images(2, 5, 5, 3)
    assert AS_IT_IS(images) is images
    np.testing.assert_array_equal(View((1, 1))(images)[:, 1:, 1:], images[:, :-1, :-1])  # down and to the right
    np.testing.assert_array_equal(View((-1, -1))(images)[:, :-1, :-1], images[:, 1:, 1:])
    turned = View(flip=True)(images)
    np.testing.assert_array_equal(View(flip=True)(turned), images)
    symmetric = np.concatenate([images, images[:, :, ::-1]], axis=2)
    np.testing.assert_array_equal(View(flip=True)(symmetric), symmetric)


@pytest.mark.parametrize("view", TTA["all"])
def test_a_view_s_choices_are_those_that_augmentation_carries_out(view):
    images = some_images(4, 6, 6, 3)
    augmentation = Augmentation(crop_padding=view.padding, flip=True)
    np.testing.assert_array_equal(augmentation.apply(images, view.choices(4)), view(images))


def test_every_kind_begins_with_the_image_as_it_is_and_weights_sum_to_one():
    for views in TTA.values():
        assert (views[0].shift, views[0].flip) == ((0, 0), False)
        assert sum(view.weight for view in views) == 1
        assert len({(view.shift, view.flip) for view in views}) == len(views)
    assert [len(views) for views in TTA.values()] == [1, 2, 3, 6]
    assert {(view.shift, view.weight) for view in TTA["shift"]} == {((0, 0), 0.5), ((-1, -1), 0.25), ((1, 1), 0.25)}


def test_logits_are_averaged_by_weight():
    of = {(0, 0): 8.0, (-1, -1): 4.0, (1, 1): 12.0}
    plain, average = average_logits("all", lambda view: np.full((1, 2), of[view.shift] + view.flip, np.float32))
    assert plain.dtype == average.dtype == np.float64
    np.testing.assert_array_equal(plain, [[8, 8]])
    np.testing.assert_array_equal(average, [[8.5, 8.5]])
    assert average_logits("all", lambda view: None if view.flip else np.zeros((1, 2))) is None
    plain, average = average_logits("none", lambda view: np.ones((1, 2)))
    np.testing.assert_array_equal(plain, average)


@pytest.mark.parametrize("tta", ["mirrors", "", None, True, ["mirror"], np.zeros(3)])
def test_an_unknown_kind_is_a_sentence(tta):
    with pytest.raises(ConfigError, match=r"no test-time augmentation .*: expected none, mirror, shift or all"):
        views_of(tta)


def test_an_image_of_one_pixel_cannot_be_shifted():
    with pytest.raises(ConfigError, match=r"images of 1 x 4 pixels cannot be shifted by 1 pixel .*tta = mirror"):
        View((1, 1))(some_images(2, 1, 4, 3))
    assert View(flip=True)(some_images(2, 1, 1, 3)).shape == (2, 1, 1, 3)


def test_models_that_saw_no_mirrored_images_are_cautioned_about():
    assert "not trained on mirrored images" in caution("mirror", False)
    assert "not trained on mirrored images" in caution("all", False)
    assert (
        caution("mirror", True) is caution("mirror", None) is caution("shift", False) is caution("none", False) is None
    )
