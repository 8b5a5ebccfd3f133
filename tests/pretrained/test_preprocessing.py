"""Pictures are prepared as whoever published the weights did it: held to their definitions, written out."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.real_pictures import real_pictures
from tinymixer.data.images import load_image
from tinymixer.errors import CheckpointError, ConfigError, DataError
from tinymixer.pretrained import Preprocessing, published
from tinymixer.pretrained.resizing import resize_area, resize_bilinear

RNG = np.random.default_rng(0)


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def area_by_hand(pixels, height, width):
    """Every old pixel's overlap with every new one, one at a time."""
    h, w, channels = pixels.shape
    out = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            total = 0.0
            for y in range(h):
                for x in range(w):
                    down = max(0.0, min(y + 1, (i + 1) * h / height) - max(y, i * h / height))
                    across = max(0.0, min(x + 1, (j + 1) * w / width) - max(x, j * w / width))
                    out[i, j] += down * across * pixels[y, x]
                    total += down * across
            out[i, j] /= total
    return out


def bilinear_by_hand(pixels, height, width):
    h, w, channels = pixels.shape
    out = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = math.floor(y), math.floor(x)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            p = pixels.astype(float)
            upper = p[top, left] * (1 - (x - left)) + p[top, right] * (x - left)
            lower = p[below, left] * (1 - (x - left)) + p[below, right] * (x - left)
            out[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return out


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 9), w=st.integers(1, 9), height=st.integers(1, 7), width=st.integers(1, 7))
def test_resizing_is_what_its_definition_says(h, w, height, width):
    pixels = picture(h, w)
    np.testing.assert_allclose(resize_area(pixels, height, width), area_by_hand(pixels, height, width), atol=1e-3)
    np.testing.assert_allclose(
        resize_bilinear(pixels, height, width), bilinear_by_hand(pixels, height, width), atol=1e-3
    )


def test_authors_way_stretches_and_maps_to_minus_one_to_one():
    pixels = picture(50, 80)
    found = published("authors", 20)(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (bilinear_by_hand(pixels, 20, 20) - 127.5) / 127.5, atol=1e-5)


def test_big_vision_s_way():
    pixels = picture(10, 16)
    found = published("big_vision", 7)(pixels)  # short side to 8, so that 10 x 16 becomes 8 x 13
    resized = area_by_hand(pixels, 8, 13).astype(np.uint8)
    expected = resized[0:7, 3:10].astype(np.float32) / 127.5 - 1
    assert np.abs(found - expected).max() <= 1 / 127 + 1e-6  # a whole number that rounding missed
    assert np.mean(np.abs(found - expected) < 1e-6) > 0.95


@pytest.mark.parametrize(("name", "method", "mean", "std"), [
    ("timm", Image.Resampling.BICUBIC, 0.5, 0.5), ("miil", Image.Resampling.BILINEAR, 0.0, 1.0),
])  # fmt: skip
@pytest.mark.parametrize(("height", "width"), [(300, 451), (451, 300), (224, 224), (100, 90)])
def test_timm_s_way(name, method, mean, std, height, width):
    pixels = picture(height, width)
    found = published(name, 224)(pixels)
    short, long = 256, int(256 * max(height, width) / min(height, width))
    size = (long, short) if height <= width else (short, long)  # Pillow's order: width, height
    resized = Image.fromarray(pixels).resize(size, method)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    cut = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32)
    np.testing.assert_allclose(found, (cut / 255 - mean) / std, atol=1e-6)
    assert found.shape == (224, 224, 3)


@pytest.mark.parametrize("name", ["authors", "big_vision", "timm", "miil"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_both_colours(name, channels):
    for height, width in ((1, 1), (3, 500), (500, 3), (33, 32)):
        image = published(name, 32, channels)(picture(height, width))
        assert image.shape == (32, 32, channels)
        assert np.isfinite(image).all()
        assert -1.0001 <= image.min() <= image.max() <= 1.0001


def test_files_are_turned_upright_and_large_ones_are_read_too(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = published("timm", 32)(tmp_path / "turned.png")
    assert image[:, -3:].min() > 0.9
    assert image[:, :3].max() < -0.9
    Image.fromarray(pixels).resize((3000, 2000)).save(tmp_path / "large.jpg")
    image = published("authors", 32)(tmp_path / "large.jpg")
    assert image[:12].min() > 0.9
    assert image[20:].max() < -0.9
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match="not an image"):
        published("timm", 32)(tmp_path / "text.png")
    with pytest.raises(DataError, match="A picture as an array"):
        published("timm", 32)(np.zeros((8, 8)))


@pytest.mark.parametrize("resizing", ["crop", "squeeze"])
def test_our_own_way_is_that_of_training(tmp_path, resizing):
    Image.fromarray(picture(50, 70)).save(tmp_path / "a.png")
    ways = Preprocessing("ours", 16, resizing, "tinymixer", (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    pixels = load_image(tmp_path / "a.png", 16, 3, fit=resizing)
    expected = (pixels / 255 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.2, 0.3])
    np.testing.assert_allclose(ways(tmp_path / "a.png"), expected, atol=1e-5)


def test_to_json_and_back_and_what_cannot_be():
    for name in ("authors", "big_vision", "timm", "miil"):
        ways = published(name, 224)
        assert Preprocessing.from_dict(json.loads(json.dumps(ways.to_dict()))) == ways
        assert str(224) in ways.describe()
    good = published("timm", 224).to_dict()
    for change, error in (
        ({"std": [0.5, 0.5, 0.0]}, ConfigError), ({"mean": [0.5]}, ConfigError), ({"image_size": "1"}, CheckpointError),
        ({"resizing": "magic"}, ConfigError), ({"short_side": 100}, ConfigError), ({"mean": "0.5"}, CheckpointError),
        ({"more": 1}, CheckpointError), ({"name": 3}, CheckpointError), ({"std": [1e400] * 3}, ConfigError),
        ({"image_size": 10**9}, ConfigError), ({"interpolation": "tinymixer"}, ConfigError),
    ):  # fmt: skip
        with pytest.raises(error):
            Preprocessing.from_dict(good | change)
    with pytest.raises(CheckpointError):
        Preprocessing.from_dict([])


def test_real_photographs():
    for file, _ in real_pictures("imagenet")[:5]:
        images = {name: published(name, 224)(file) for name in ("authors", "big_vision", "timm")}
        for image in images.values():
            assert image.shape == (224, 224, 3)
            assert 0.05 < image.std() < 1
        # Two ways of cutting out the same square: alike, and not the same.
        assert 0.001 < np.abs(images["timm"] - images["big_vision"]).mean() < 0.1
