"""Picture files of every kind, and files that are none."""

import struct
import sys
import zlib

import numpy as np
import pytest

from tinymixer.data import load_image
from tinymixer.errors import ConfigError, DataError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def save(tmp_path):
    """Write an array or picture to a file and return its path."""

    def write(content, name="picture.png", **options):
        picture = Image.fromarray(content) if isinstance(content, np.ndarray) else content
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def ramp(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_an_image_of_the_right_size_is_left_as_it_is(save):
    picture = ramp(32, 32)
    np.testing.assert_array_equal(load_image(save(picture), 32, 3), picture)
    grey = load_image(save(picture[..., 0]), 32, 1)
    np.testing.assert_array_equal(grey, picture[..., :1])
    assert grey.dtype == np.uint8


def test_a_shrunk_digit_is_the_average_of_its_blocks(save):
    """As the data set itself was made: blocks of 4 x 4 of a bitmap of 32 x 32."""
    bitmap = (np.random.default_rng(1).random((32, 32)) < 0.5).astype(np.uint8) * 255
    blocks = bitmap.reshape(8, 4, 8, 4).mean(axis=(1, 3))
    result = load_image(save(bitmap), 8, 1)[..., 0]
    assert np.abs(result - blocks).max() <= 1
    np.testing.assert_array_equal(load_image(save(bitmap), 8, 1, invert=True)[..., 0], 255 - result)


@pytest.mark.parametrize(("shape", "window"), [((20, 32), np.s_[:, 6:26]), ((32, 20), np.s_[6:26])])
def test_the_central_square_is_taken(save, shape, window):
    picture = ramp(*shape)
    np.testing.assert_array_equal(load_image(save(picture), 20, 3), picture[window])


def test_grey_becomes_colour_and_colour_grey(save):
    grey = ramp(16, 16)[..., 0]
    np.testing.assert_array_equal(load_image(save(grey), 16, 3), np.repeat(grey[..., None], 3, axis=2))
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert np.unique(load_image(save(red), 16, 1)).tolist() == [76]


def test_transparent_parts_are_white(save):
    picture = np.zeros((16, 16, 4), dtype=np.uint8)
    picture[:8, :, 3] = 255
    result = load_image(save(picture), 16, 3)
    assert (result[:8] == 0).all()
    assert (result[8:] == 255).all()
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert load_image(save(palette, "plain.png"), 16, 3)[0, 0].tolist() == [0, 0, 255]
    assert load_image(save(palette, "clear.png", transparency=1), 16, 3)[0, 0].tolist() == [255, 255, 255]


def test_16_bits_are_scaled_and_not_clipped(save):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    expected = np.arange(256).reshape(16, 16)
    for name in ("deep.png", "deep.tif"):
        np.testing.assert_array_equal(load_image(save(values, name), 16, 1)[..., 0], expected)


def test_the_cameras_orientation_is_followed(save):
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    picture[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    result = load_image(save(picture, exif=exif), 16, 3)
    np.testing.assert_array_equal(result, np.rot90(picture, -1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "name"),
    [(mode, "a.tif") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16")]
    + [("LA", "a.png"), ("P", "a.gif"), ("RGBA", "a.webp"), ("CMYK", "a.jpg"), ("I;16", "a.png"), ("1", "a.pbm")],
)
def test_every_mode_gives_an_image(save, mode, name, channels):
    assert load_image(save(Image.new(mode, (40, 30)), name), 24, channels).shape == (24, 24, channels)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_very_small_and_very_thin_pictures(save, size):
    assert load_image(save(Image.new("RGB", size, "red")), 32, 3).tolist() == [[[255, 0, 0]] * 32] * 32


def test_an_animation_gives_its_first_frame(save):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = save(frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    assert load_image(path, 16, 3)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("content", [b"", b"hello", b"<html></html>", bytes(1000), b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_a_file_that_is_no_image(tmp_path, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"picture.png is (not an image|a damaged image)"):
        load_image(path, 32, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp", "a.ppm"])
def test_an_image_cut_short_or_damaged(save, name):
    path = save(ramp(64, 64), name)
    whole = path.read_bytes()
    for length in range(1, len(whole) - 1, len(whole) // 12):
        path.write_bytes(whole[:length])
        try:
            load_image(path, 32, 3)
        except DataError as error:
            message = str(error)
        else:
            message = "its format needs no more"
        assert "image" in message or "needs" in message
    random = np.random.default_rng(0)
    for _ in range(30):
        content = bytearray(whole)
        for place in random.integers(0, min(len(content), 200), 3):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            assert load_image(path, 32, 3).shape == (32, 32, 3)
        except DataError as error:
            message = str(error)
        assert message


def test_a_picture_too_large_to_decode(tmp_path, save, monkeypatch):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (12_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path = tmp_path / "bomb.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
        )
        with pytest.raises(DataError, match=r"bomb.png has more than 120,000,000 pixels"):
            load_image(path, 32, 3)
    monkeypatch.setenv("TINYMIXER_MAX_PIXELS", "100")
    with pytest.raises(DataError, match=r"more than 100 pixels"):
        load_image(save(ramp(11, 10)), 32, 3)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r'needs Pillow: pip install "tinymixer\[cli\] @ git'):
        load_image(tmp_path / "picture.png", 32, 3)


def test_paths_and_channels_that_cannot_work(tmp_path, save):
    with pytest.raises(DataError, match=r"There is no file .*nowhere.png"):
        load_image(tmp_path / "nowhere.png", 32, 3)
    with pytest.raises(DataError, match=r"is a folder, and a file was expected"):
        load_image(tmp_path, 32, 3)
    with pytest.raises(ConfigError, match=r"1 or 3 channels, and the model has in_channels=4"):
        load_image(save(ramp(8, 8)), 32, 4)
    floating = save(Image.new("F", (8, 8)), "floating.tif")
    with pytest.raises(DataError, match=r"floating.tif has floating-point pixels"):
        load_image(floating, 8, 1)
