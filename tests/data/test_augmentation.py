"""Crops, flips and cutout boxes against plain loops, and what they must never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.data import Augmentation, Choices
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError, ShapeError


def draws(count, seed=0):
    return Draws(seed, 0, 0, np.arange(count))


@st.composite
def augmented_batches(draw):
    """(augmentation, images, choices): any small size, one channel or more, with settings that fit the size."""
    count, channels = draw(st.integers(0, 4)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    shorter = min(height, width)
    augmentation = Augmentation(draw(st.integers(0, shorter - 1)), draw(st.booleans()), draw(st.integers(0, shorter)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    if draw(st.booleans()):
        images = np.asfortranarray(images)
    return augmentation, images, augmentation.draw(draws(count, draw(st.integers(0, 99))))


def one_image_at_a_time(augmentation, images, choices, fill):
    """The same by the book: pad, cut the window out, mirror it, blank the square."""
    padding, out = augmentation.crop_padding, np.empty_like(images)
    _, height, width, _ = images.shape
    for index, image in enumerate(images):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
        top, left = choices.crop[index]
        window = padded[top : top + height, left : left + width].copy()
        if choices.flip[index]:
            window = window[:, ::-1].copy()
        if augmentation.cutout:
            first_row = int(choices.cutout[index, 0] * height) - augmentation.cutout // 2
            first_column = int(choices.cutout[index, 1] * width) - augmentation.cutout // 2
            rows = slice(max(first_row, 0), max(first_row + augmentation.cutout, 0))
            columns = slice(max(first_column, 0), max(first_column + augmentation.cutout, 0))
            window[rows, columns] = fill
        out[index] = window
    return out


@given(augmented_batches(), st.integers(0, 255))
def test_equal_to_one_image_at_a_time(batch, fill):
    augmentation, images, choices = batch
    before = images.copy()
    out = augmentation.apply(images, choices, fill)
    np.testing.assert_array_equal(out, one_image_at_a_time(augmentation, images, choices, fill))
    np.testing.assert_array_equal(images, before)
    assert out.dtype == np.uint8
    assert not np.shares_memory(out, images)


@given(augmented_batches())
def test_without_cutout_every_pixel_is_one_of_the_image(batch):
    augmentation, images, choices = batch
    without = Augmentation(augmentation.crop_padding, augmentation.flip)
    for image, result in zip(images, without.apply(images, choices), strict=True):
        colours = {tuple(pixel) for pixel in image.reshape(-1, image.shape[-1]).tolist()}
        assert {tuple(pixel) for pixel in result.reshape(-1, image.shape[-1]).tolist()} <= colours


@given(augmented_batches())
def test_centred_choices_change_nothing(batch):
    augmentation, images, _ = batch
    count = len(images)
    centred = Choices(np.full((count, 2), augmentation.crop_padding), np.zeros(count, dtype=bool), np.zeros((count, 2)))
    without_cutout = Augmentation(augmentation.crop_padding, augmentation.flip)
    np.testing.assert_array_equal(without_cutout.apply(images, centred), images)


@given(augmented_batches())
def test_a_flip_alone_undoes_itself(batch):
    _, images, _ = batch
    mirror = Augmentation(crop_padding=0, flip=True)
    choices = Choices(
        np.zeros((len(images), 2), dtype=int), np.ones(len(images), dtype=bool), np.zeros((len(images), 2))
    )
    once = mirror.apply(images, choices)
    np.testing.assert_array_equal(once, images[:, :, ::-1])
    np.testing.assert_array_equal(mirror.apply(once, choices), images)


@given(st.integers(0, 2**32), st.integers(0, 40))
def test_the_draw_depends_on_the_key_alone(seed, count):
    augmentation = Augmentation(crop_padding=3, flip=True, cutout=2)
    one = augmentation.draw(draws(count, seed))
    other = augmentation.draw(draws(count, seed))
    for name in ("crop", "flip", "cutout"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    without_flip = Augmentation(crop_padding=3, flip=False, cutout=2).draw(draws(count, seed))
    np.testing.assert_array_equal(one.crop, without_flip.crop)
    assert not without_flip.flip.any()


def test_every_choice_is_drawn_about_equally_often():
    choices = Augmentation(crop_padding=4, flip=True, cutout=8).draw(draws(90_000))
    corners = np.bincount(choices.crop[:, 0] * 9 + choices.crop[:, 1], minlength=81)
    assert len(corners) == 81
    # 90,000 / 81 is 1,111 with a standard deviation of 33.
    assert corners.min() > 940
    assert corners.max() < 1280
    assert abs(choices.flip.mean() - 0.5) < 0.01
    assert np.abs(choices.cutout.mean(axis=0) - 0.5).max() < 0.01


def test_a_cutout_box_has_its_size_and_colour_inside_the_image():
    images = np.zeros((3, 8, 8, 2), dtype=np.uint8)
    choices = Choices(np.zeros((3, 2), int), np.zeros(3, bool), np.array([[0.5, 0.5], [0.0, 0.5], [0.999, 0.999]]))
    out = Augmentation(crop_padding=0, flip=False, cutout=4).apply(images, choices, fill=[7, 9])
    assert (out[..., 0] == 7).sum(axis=(1, 2)).tolist() == [16, 8, 9]
    np.testing.assert_array_equal(out[0, 2:6, 2:6], np.broadcast_to([7, 9], (4, 4, 2)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_padding": -1}, "'crop_padding' expects 0 or more, got -1"),
        ({"crop_padding": 1.5}, "'crop_padding' expects a whole number"),
        ({"cutout": True}, "'cutout' expects a whole number"),
        ({"flip": 1}, "'flip' expects true or false, got 1"),
    ],
)
def test_fields_that_cannot_work(fields, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**fields)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (Augmentation(crop_padding=8), "crop_padding=8 is too large for images of 8 x 9 pixels.*Set crop_padding to 7"),
        (Augmentation(crop_padding=0, cutout=9), "cutout=9 is larger than the images of 8 x 9 pixels. Set cutout to 8"),
    ],
)
def test_settings_too_large_for_the_image(augmentation, message):
    with pytest.raises(ConfigError, match=message):
        augmentation(np.zeros((1, 8, 9, 3), dtype=np.uint8), draws(1))


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3), dtype=np.float32), np.zeros((8, 8, 3), dtype=np.uint8)])
def test_anything_but_a_batch_of_bytes_is_refused(images):
    with pytest.raises(ShapeError, match=r"expects uint8 images"):
        Augmentation(crop_padding=1)(images, draws(len(images)))


def test_choices_for_another_batch_are_refused():
    augmentation = Augmentation(crop_padding=1)
    with pytest.raises(ShapeError, match=r"choices are for 3 images, the batch has 2"):
        augmentation.apply(np.zeros((2, 8, 8, 3), dtype=np.uint8), augmentation.draw(draws(3)))


@settings(max_examples=20)
@given(st.integers(1, 6))
def test_the_identity_says_so(crop_padding):
    assert Augmentation(crop_padding=0, flip=False).is_identity
    assert not Augmentation(crop_padding=crop_padding, flip=False).is_identity


def test_alternate_flip_mirrors_every_image_in_every_second_epoch():
    augmentation, numbers = Augmentation(flip=True, alternate_flip=True), np.arange(400)
    flips = []
    for epoch in range(4):
        order = np.random.default_rng(epoch).permutation(numbers)  # each epoch has an order of its own
        choices = augmentation.draw(Draws(3, epoch, 0, np.arange(400)), order)
        flips.append(choices.flip[np.argsort(order)])
    np.testing.assert_array_equal(flips[0], ~flips[1])
    np.testing.assert_array_equal(flips[0], flips[2])
    np.testing.assert_array_equal(flips[1], flips[3])
    assert 0.4 < flips[0].mean() < 0.6
    with pytest.raises(ConfigError, match="switch flip on"):
        Augmentation(alternate_flip=True)


def test_a_list_of_transforms_is_checked_when_it_is_given():
    assert not Augmentation(transforms="rotate(20, 0.4)").is_identity
    with pytest.raises(ConfigError, match="Did you mean 'rotate'"):
        Augmentation(transforms="rotat(20)")
