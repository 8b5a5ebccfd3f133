"""Any picture file as an image of the model's size."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.borders import IMAGE_VALUES, PIXELS, counted, guarded, opened, shown_value
from tinymixer.data.paths import expanded, shown
from tinymixer.errors import ConfigError, DataError, install_line

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# The formats that pictures of people's own come in. Pillow knows thirty more, some of them programs (EPS), some read
# by code that nobody has looked after for years; none of those is tried.
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
# Decoded in one go, with several copies of the picture in memory at once: fewer pixels of these.
DECODED_WHOLE, SHARE_OF_THOSE = ("WEBP", "AVIF", "JPEG2000"), 3
# How many times the size that is wanted a JPEG is decoded at, at least. At 4 a photograph of 12 megapixels takes a half
# to a third of its whole decoding's time, and pixels differ by 0 to 3 of 255 on average; at 2 it would be up to a third
# faster again, and differ by up to 5.
DRAFT = 4
LONGEST_SIDE = 100_000  # pixels: a row of pixels takes memory of its own, so that a thin picture may take gigabytes
LARGE = 4_000_000  # pixels, above which a picture is shrunk strip by strip, and alone
STRIP = 1_000_000  # pixels of a strip
ORIENTATION = 0x0112  # the EXIF tag that says how a camera was held
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
_one_large_at_a_time = threading.Lock()


def load_image(
    path: str | os.PathLike[str], image_size: int, in_channels: int, invert: bool = False, fit: str = "crop"
) -> np.ndarray:
    """A picture file -> uint8 (image_size, image_size, in_channels), for a model of 1 (grey) or 3 (RGB) channels.

    Turned upright by its EXIF orientation, cut to its central square (fit="crop"; "squeeze" leaves nothing out), then
    resized: averaged when it shrinks, as the digits were made, bicubic when it grows. Transparent parts are laid on
    white; an animation gives its first frame.

    Nothing is inverted unless asked for. The digits are light strokes on black: a model trained on them needs
    `invert=True` for dark ink on white paper.
    Raises DataError, in a sentence, for a file that is missing, is no picture, is damaged, or is too large to decode.
    """
    if in_channels not in (1, 3):
        raise ConfigError(f"Pictures can be read with 1 or 3 channels, and the model has in_channels={in_channels}.")
    image_size = checked_size(image_size)
    require_pillow()
    with warnings.catch_warnings():
        # Pillow warns of odd tags and large sizes; here damage and size are errors or nothing.
        warnings.simplefilter("ignore")
        pixels = read_picture(expanded(path), image_size, in_channels, fit)
    return 255 - pixels if invert else pixels


def checked_size(image_size: int) -> int:
    """A side in pixels. Raises ConfigError for anything but a whole number of at least 1, and within the limit."""
    if isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer)) or image_size < 1:
        raise ConfigError(f"image_size is the side of the images in pixels, 1 or more, got {shown_value(image_size)}.")
    IMAGE_VALUES.require(3 * int(image_size) ** 2, f"image_size {counted(int(image_size))}")
    return int(image_size)


def require_pillow() -> None:
    """Raise DataError, with what to do, where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise DataError(f"Reading picture files needs Pillow: {install_line('cli')}.") from error


def read_picture(path: Path, image_size: int, in_channels: int, fit: str) -> np.ndarray:
    """What `load_image` and a folder of pictures do with one file, so that both see the same pixels."""
    from PIL import Image

    if fit not in ("crop", "squeeze"):
        raise ConfigError(f"fit expects crop or squeeze, got '{fit}'.")
    name = shown(path)
    damaged = f"{name} is a damaged image and cannot be read to its end"
    with opened_picture(path, name) as picture, guarded(DataError, damaged):
        # A JPEG several times too large is decoded at a half, a quarter or an eighth of its size.
        picture.draft(None, (DRAFT * image_size, DRAFT * image_size))
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
        if picture.width * picture.height > LARGE:
            with _one_large_at_a_time:
                small = _shrunk(picture, image_size, in_channels, name)
        else:
            small = _plain(picture, in_channels, name)
        if turn is not None:
            small = small.transpose(Image.Transpose[turn])
        return _square(small, image_size, in_channels, fit)


def image_of_array(pixels: np.ndarray, image_size: int, in_channels: int, fit: str = "crop") -> np.ndarray:
    """The pixels of a picture -> uint8 (image_size, image_size, in_channels), made to fit as `load_image` does.

    pixels   uint8 (height, width), or (height, width, 1, 3 or 4) for grey, RGB and RGB with transparency

    Raises DataError for other arrays; they would have to be guessed at.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise DataError(
            "A picture as an array is uint8 from 0 to 255, of shape (height, width) or (height, width, 1, 3 or 4), "
            f"got {pixels.dtype} {pixels.shape}."
        )
    if 0 in pixels.shape:
        raise DataError(f"A picture as an array has pixels, got shape {pixels.shape}.")
    shaped = pixels[..., None] if pixels.ndim == 2 else pixels  # (height, width, channels)
    if shaped.shape == (image_size, image_size, in_channels):
        return shaped
    require_pillow()
    from PIL import Image

    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    picture = _plain(Image.fromarray(np.ascontiguousarray(flat)), in_channels, "the array")
    return _square(picture, image_size, in_channels, fit)


def _square(picture: "PillowImage", image_size: int, in_channels: int, fit: str) -> np.ndarray:
    """A plain picture resized to uint8 (image_size, image_size, in_channels)."""
    from PIL import Image, ImageOps

    shrinks = min(picture.size) > image_size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    size = image_size, image_size
    square = ImageOps.fit(picture, size, method) if fit == "crop" else picture.resize(size, method)
    return np.array(square, dtype=np.uint8).reshape(image_size, image_size, in_channels)  # (height, width, channels)


@contextmanager
def opened_picture(path: Path, name: str) -> "Iterator[PillowImage]":
    """A picture file whose header was read and nothing else, not more than so many pixels.

    Raises DataError for a file that is missing, none, no picture of FORMATS, damaged, or too large to decode.
    """
    from PIL import Image

    with opened(path, DataError, name) as file:
        try:
            with guarded(DataError, f"{name} is a damaged image and cannot be read"):
                picture = Image.open(file, formats=_formats_here())
        except DataError as error:
            if isinstance(error.__cause__, Image.DecompressionBombError):
                raise DataError(_too_large(name, PIXELS.value)) from error
            if isinstance(error.__cause__, Image.UnidentifiedImageError):
                raise DataError(
                    f"{name} is not an image in any format that is read here; give a PNG or JPEG file."
                ) from error
            raise
        with picture:
            limit = PIXELS.value // (SHARE_OF_THOSE if picture.format in DECODED_WHOLE else 1)
            if max(picture.size) > LONGEST_SIDE:
                raise DataError(f"{name} is {max(picture.size):,} pixels long, and {LONGEST_SIDE:,} are the most here.")
            if picture.width * picture.height > limit:
                raise DataError(_too_large(name, limit))
            yield picture


def _formats_here() -> list[str]:
    """Those of FORMATS that this Pillow opens: AVIF may be missing, and MPO (several JPEGs) is opened as JPEG."""
    from PIL import Image

    Image.init()
    return [each for each in FORMATS if each in Image.OPEN]


def picture_endings() -> set[str]:
    """How the names of files in these formats end, in small letters: ".png" and others."""
    from PIL import Image

    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}


def _too_large(name: str, limit: int) -> str:
    return (
        f"{name} has more than {limit:,} pixels and was not decoded; make it smaller first, or set {PIXELS.variable} "
        "higher."
    )


def _shrunk(picture: "PillowImage", image_size: int, in_channels: int, name: str) -> "PillowImage":
    """A large picture with whole boxes of its pixels averaged, to no less than `DRAFT` times the size that is wanted.

    A strip at a time, so that nothing of its full size is in memory but the picture itself.
    """
    from PIL import Image

    factor = max(1, min(picture.size) // (DRAFT * image_size))
    width, height = (-(-side // factor) for side in picture.size)
    rows = max(1, STRIP // (picture.width * factor)) * factor
    small = Image.new("L" if in_channels == 1 else "RGB", (width, height))
    for top in range(0, picture.height, rows):
        strip = _plain(picture.crop((0, top, picture.width, min(top + rows, picture.height))), in_channels, name)
        small.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return small


def _plain(picture: "PillowImage", in_channels: int, name: str) -> "PillowImage":
    """The picture in grey or in RGB, 8 bits a channel, nothing transparent."""
    return _eight_bits(picture, name).convert("L" if in_channels == 1 else "RGB")


def _eight_bits(picture: "PillowImage", name: str) -> "PillowImage":
    """The picture with 8 bits a channel and nothing transparent."""
    from PIL import Image

    if picture.mode == "F":
        raise DataError(
            f"{name} has floating-point pixels, whose range is anyone's guess; save it as a PNG with 8 bits."
        )
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # 16-bit grey, which Pillow's own conversion would clip at 255 instead of scaling.
        values = np.clip(np.asarray(picture), 0, 65_535).astype(np.uint32)  # (height, width)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "LAB":
        return picture.convert("RGB")  # the one conversion Pillow has for it
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture
