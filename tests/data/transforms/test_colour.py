"""Changes of colour against Pillow, which works on bytes: equal to a byte or so."""

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tinymixer.data.transforms import colour

Image = pytest.importorskip("PIL.Image")
ImageEnhance, ImageOps = pytest.importorskip("PIL.ImageEnhance"), pytest.importorskip("PIL.ImageOps")

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 9, 7, 3), dtype=np.uint8)
FACTORS = np.array([0.0, 0.4, 1.0, 1.7], np.float32)


def cut_off(images):
    return np.clip(images, 0, 1) * 255


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brightness, ImageEnhance.Brightness),
        (colour.contrast, ImageEnhance.Contrast),
        (colour.saturation, ImageEnhance.Color),
        (colour.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_factors_are_pillows(ours, theirs):
    result = cut_off(ours(PICTURES.astype(np.float32) / 255, FACTORS))
    for i, factor in enumerate(FACTORS):
        expected = np.asarray(theirs(Image.fromarray(PICTURES[i])).enhance(float(factor)))
        np.testing.assert_allclose(result[i], expected, atol=1.6)


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_posterize_is_pillows(bits):
    result = cut_off(colour.posterize(PICTURES.astype(np.float32) / 255, np.full(4, bits, np.float32)))
    for i in range(4):
        np.testing.assert_allclose(result[i], ImageOps.posterize(Image.fromarray(PICTURES[i]), bits), atol=1e-3)


@pytest.mark.parametrize("limit", [0, 100, 256])
def test_solarize_and_invert_are_pillows(limit):
    result = cut_off(colour.solarize(PICTURES.astype(np.float32) / 255, np.full(4, limit / 255, np.float32)))
    for i in range(4):
        np.testing.assert_allclose(result[i], ImageOps.solarize(Image.fromarray(PICTURES[i]), limit), atol=1e-3)
    inverted = cut_off(colour.invert(PICTURES.astype(np.float32) / 255, FACTORS))
    np.testing.assert_allclose(inverted, 255 - PICTURES.astype(float), atol=1e-3)


def test_offsets_add():
    images = PICTURES.astype(np.float32) / 255
    np.testing.assert_allclose(
        colour.offset(images, FACTORS) - images, np.broadcast_to(FACTORS[:, None, None, None], images.shape), atol=1e-6
    )
    own = np.random.default_rng(1).random((4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        colour.channel_offset(images, own) - images, np.broadcast_to(own[:, None, None, :], images.shape), atol=1e-6
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "change",
    [colour.brightness, colour.contrast, colour.saturation, colour.sharpness, colour.posterize, colour.solarize],
)
def test_any_number_of_channels_and_any_library(change, channels):
    images = np.random.default_rng(2).random((4, 5, 3, channels)).astype(np.float32)
    before = images.copy()
    ours = change(images, FACTORS)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(images, before)
    elsewhere = STRICT.to_numpy(change(STRICT.asarray(images), STRICT.asarray(FACTORS)))
    np.testing.assert_allclose(elsewhere, ours, atol=1e-6)
