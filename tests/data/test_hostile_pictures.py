"""Pictures that are damaged, far too large, or in formats that are not supported."""

import io
import os
import random
import struct
import tracemalloc

import numpy as np
import pytest

from tinymixer.data import images as images_module
from tinymixer.data import load_image
from tinymixer.errors import DataError

Image = pytest.importorskip("PIL.Image")


def ramp(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"DDS " + struct.pack("<I", 124) + b"\xff" * 200,
        b"BLP2" + b"\xff" * 300,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n",
        b"SIMPLE  =                    T" + b" " * 51,
        b'/* XPM */\nstatic char *a[] = {\n"8 8 999999999 1",\n',
        b"icns" + struct.pack(">I", 100_000) + (b"abcd" + struct.pack(">I", 0)) * 1000,
        b"8BPS\0\1" + bytes(200),
    ],
)
def test_formats_that_are_not_named_are_not_tried(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a.png is not an image in any format that tinymixer reads"):
        load_image(tmp_path / "a.png", 8, 3)


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM", "BMP", "PNG", "JPEG", "TGA"])
def test_damage_is_one_sentence(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    file = io.BytesIO()
    Image.fromarray(ramp(23, 31)).save(file, kind)
    draw, path, problems = random.Random(0), tmp_path / "a.bin", []
    for _ in range(60):
        content = bytearray(file.getvalue())
        for _ in range(draw.choice([1, 2, 5])):
            place = draw.randrange(min(len(content), 300))
            content[place : place + 4] = struct.pack(draw.choice("<>") + "I", draw.choice([0, 1, 2**31 - 1, 2**32 - 1]))
        path.write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            load_image(path, 8, 3)
        except DataError as error:
            problems.append(str(error))
    assert problems
    assert all("\n" not in problem and len(problem) < 500 for problem in problems)


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA", "LA", "1", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_picture_is_shrunk_in_strips_to_the_same_pixels(tmp_path, monkeypatch, mode, channels):
    coarse = Image.fromarray(ramp(12, 16)).resize((320, 240), Image.Resampling.BICUBIC)
    picture = (
        Image.fromarray(np.asarray(coarse.convert("L")).astype(np.uint16) * 257)
        if mode == "I;16"
        else coarse.convert(mode)
    )
    if mode in ("RGBA", "LA"):
        picture.putalpha(coarse.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    whole = load_image(tmp_path / "a.png", 12, channels).astype(int)
    monkeypatch.setattr(images_module, "LARGE", 1000)
    monkeypatch.setattr(images_module, "STRIP", 5000)
    assert np.abs(load_image(tmp_path / "a.png", 12, channels) - whole).max() <= 3


def test_16_bits_take_no_more_memory_than_the_picture(tmp_path):
    Image.fromarray(np.zeros((3000, 4000), np.uint16) + 25_700).save(tmp_path / "deep.png")
    tracemalloc.start()
    assert np.unique(load_image(tmp_path / "deep.png", 8, 1)).tolist() == [100]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20  # as eight-byte numbers they would be 96 MB


def test_formats_that_are_decoded_whole_may_have_fewer_pixels(tmp_path, monkeypatch):
    for name in ("a.webp", "a.png"):
        Image.fromarray(ramp(20, 20)).save(tmp_path / name)
    monkeypatch.setenv("TINYMIXER_MAX_PIXELS", "600")
    assert load_image(tmp_path / "a.png", 8, 3).shape == (8, 8, 3)
    with pytest.raises(DataError, match=r"a.webp has more than 200 pixels .* or set TINYMIXER_MAX_PIXELS higher"):
        load_image(tmp_path / "a.webp", 8, 3)


@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1)])
def test_a_picture_that_is_one_line(tmp_path, size):
    Image.new("1", size).save(tmp_path / "line.png")
    with pytest.raises(DataError, match=r"line.png is 200,000 pixels long, and 100,000 are the most"):
        load_image(tmp_path / "line.png", 8, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a pipe, a socket or a device"):
        load_image(tmp_path / "a.png", 8, 3)


def test_names_of_any_bytes(tmp_path):
    Image.fromarray(ramp(8, 8)).save(tmp_path / "~backup.png")
    assert load_image(tmp_path / "~backup.png", 8, 3).shape == (8, 8, 3)
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    try:
        os.link(tmp_path / "~backup.png", name)
    except OSError:
        pytest.skip("names are text here")
    assert load_image(name, 8, 3).shape == (8, 8, 3)
    os.truncate(name, 60)
    with pytest.raises(DataError, match=r"\\xff.png is a damaged image") as caught:
        load_image(name, 8, 3)
    str(caught.value).encode("utf-8")
