"""Affine maps against NumPy's own ways to move pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer.data import Augmentation
from tinymixer.data.transforms.geometry import (
    AffineMaps,
    crop_and_flip,
    resample,
    rotation,
    shear,
    shift,
    window,
    zoom,
)
from tinymixer.draws import Draws


def drawn_images(count=2, height=6, width=6, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def amounts(*values):
    return np.array(values, float)


@given(turns=st.integers(-3, 3), size=st.integers(1, 7))
def test_quarter_turns_are_numpys(turns, size):
    images = drawn_images(height=size, width=size)
    turned = resample(images, rotation(amounts(90.0 * turns, 0.0)))
    np.testing.assert_allclose(turned[0], np.rot90(images[0], turns), atol=1e-3)
    np.testing.assert_allclose(turned[1], images[1], atol=1e-3)


@given(rows=st.integers(-4, 4), columns=st.integers(-4, 4))
def test_whole_shifts_reflect_as_numpys_pad(rows, columns):
    images = drawn_images(1, 6, 5)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    expected = padded[:, 4 - rows : 10 - rows, 4 - columns : 9 - columns]
    np.testing.assert_allclose(resample(images, shift(amounts(rows), amounts(columns))), expected, atol=1e-3)


def test_between_pixels_it_interpolates():
    ramp = np.arange(8, dtype=np.uint8).reshape(1, 1, 8, 1)
    moved = resample(ramp, shift(0.0, amounts(-0.25)))
    np.testing.assert_allclose(moved[0, 0, :7, 0], np.arange(7) + 0.25, atol=1e-5)


def test_zoom_and_shear_move_a_ramp_as_their_formulas_say():
    height, width = 9, 11
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    ramps = np.stack([rows, columns], axis=-1)[None]  # each pixel holds its own place
    bigger = resample(ramps, zoom(amounts(2.0)))[0]
    np.testing.assert_allclose(bigger[..., 0], 4 + (rows - 4) / 2, atol=1e-5)
    np.testing.assert_allclose(bigger[..., 1], 5 + (columns - 5) / 2, atol=1e-5)
    slanted = resample(ramps, shear(amounts(0.5), 0.0))[0]
    inside = (columns - 0.5 * (rows - 4) >= 0) & (columns - 0.5 * (rows - 4) <= width - 1)
    np.testing.assert_allclose(slanted[..., 1][inside], (columns - 0.5 * (rows - 4))[inside], atol=1e-5)
    np.testing.assert_allclose(slanted[..., 0], rows, atol=1e-5)


def test_a_window_takes_its_share_of_the_image_from_its_place():
    height = width = 8
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    ramps = np.stack([rows, columns], axis=-1)[None]
    cut = resample(ramps, window(amounts(0.25), amounts(1.0), np.array([[0.0, 1.0]]), height, width))[0]
    # A quarter of the area is half of each side: at the top, rows -0.25 to 3.25; at the right, columns 3.75 to 7.25.
    np.testing.assert_allclose(cut[1:, 0, 0], 0.25 + 0.5 * np.arange(7), atol=1e-5)
    np.testing.assert_allclose(cut[0, :7, 1], 3.75 + 0.5 * np.arange(7), atol=1e-5)


@given(seed=st.integers(0, 100))
def test_maps_compose_in_the_order_they_are_applied(seed):
    """One resampling of the composition of exact maps equals two resamplings."""
    images, generator = drawn_images(3, seed=seed), np.random.default_rng(seed)
    first = rotation(90.0 * generator.integers(0, 4, 3))
    second = crop_and_flip(generator.integers(0, 3, (3, 2)), generator.random(3) < 0.5, 1)
    together = resample(images, first.then(second))
    one_by_one = resample(resample(images, first), second)
    np.testing.assert_allclose(together, one_by_one, atol=1e-2)


@given(seed=st.integers(0, 50), padding=st.integers(0, 3), flip=st.booleans())
def test_crop_and_flip_as_a_map_equal_the_weak_augmentation(seed, padding, flip):
    images, draws = drawn_images(4), Draws(seed, 0, 0, np.arange(4))
    augmentation = Augmentation(crop_padding=padding, flip=flip)
    choices = augmentation.draw(draws)
    moved = resample(images, crop_and_flip(choices.crop, choices.flip, padding))
    np.testing.assert_allclose(moved, augmentation.apply(images, choices), atol=1e-3)


def test_only_the_chosen_images_move():
    images = drawn_images(3)
    maps = AffineMaps.identity(3).then_some(np.array([1]), rotation(amounts(20)))
    moved = resample(images, maps)
    np.testing.assert_allclose(moved[[0, 2]], images[[0, 2]], atol=1e-3)
    assert np.abs(moved[1] - images[1]).max() > 1


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 5, 3), (3, 4, 1, 2), (2, 7, 5, 3)])
def test_every_size_stays_in_range_and_the_strict_library_agrees(shape):
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    count = shape[0]
    generator = np.random.default_rng(2)
    maps = AffineMaps(generator.normal(0, 1, (count, 2, 2)), generator.normal(0, 9, (count, 2)))
    moved = resample(images, maps)
    assert moved.shape == shape
    assert moved.dtype == np.float32
    assert moved.min() >= images.min() - 1e-3
    assert moved.max() <= images.max() + 1e-3
    elsewhere = STRICT.to_numpy(resample(STRICT.asarray(images), maps))
    np.testing.assert_allclose(elsewhere, moved, atol=1e-3)
