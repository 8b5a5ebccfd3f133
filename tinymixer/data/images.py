"""Reads a picture file as an image of the model's size."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.borders import IMAGE_VALUES, PIXELS, guarded, opened
from tinymixer.data.paths import expanded, shown
from tinymixer.errors import ConfigError, DataError, install_line
from tinymixer.text import readable_number, shown_value

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# The formats that people's own pictures have. Pillow knows thirty more, but some are programs (EPS) and some are read
# by code that is no longer maintained, so none of those is tried.
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
# Decoding one of these formats holds several copies of the picture in memory, so only a third of the pixels is allowed.
DECODED_WHOLE, COPIES_IN_MEMORY = ("WEBP", "AVIF", "JPEG2000"), 3
# A JPEG is decoded at this many times the wanted size, or more. At 4, decoding a photograph of 12 megapixels takes a
# half to a third of the time, and pixels differ by 0 to 3 of 255 on average. At 2 it would be up to a third faster
# again, with differences up to 5.
DRAFT = 4
LONGEST_SIDE = 100_000  # pixels: Pillow needs memory for every row, so even a thin picture could take gigabytes
LARGE = 4_000_000  # pixels: larger pictures are shrunk strip by strip, one at a time
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

    The picture is turned upright by its EXIF orientation, cut to its central square (fit="crop"; "squeeze" keeps all of
    it), then resized: by averaging when it shrinks, as the digits were made, bicubically when it grows. Transparent
    parts become white; of an animation the first frame is taken.

    invert=True exchanges light and dark. The digits are light strokes on black, so a model trained on them needs it for
    dark ink on white paper.
    Raises DataError, in a sentence, for a file that is missing, damaged, not a picture, or too large to decode.
    """
    if in_channels not in (1, 3):
        raise ConfigError(f"Pictures can be read with 1 or 3 channels, and the model has in_channels={in_channels}.")
    image_size = checked_size(image_size)
    require_pillow()
    with warnings.catch_warnings():
        # Pillow warns of odd tags and large sizes. Here, those that matter raise errors and the others are harmless.
        warnings.simplefilter("ignore")
        pixels = read_picture(expanded(path), image_size, in_channels, fit)
    return 255 - pixels if invert else pixels


def checked_size(image_size: int) -> int:
    """Return the side length in pixels. Raises ConfigError unless it is a whole number from 1 to the limit."""
    if isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer)) or image_size < 1:
        raise ConfigError(f"image_size is the side of the images in pixels, 1 or more, got {shown_value(image_size)}.")
    IMAGE_VALUES.require(3 * int(image_size) ** 2, f"image_size {readable_number(int(image_size))}")
    return int(image_size)


def require_pillow() -> None:
    """Raise DataError, with what to do, where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise DataError(f"Reading picture files needs Pillow: {install_line('cli')}.") from error


def read_picture(path: Path, image_size: int, in_channels: int, fit: str) -> np.ndarray:
    """Read one picture file; `load_image` and folders of pictures both use this, so they get the same pixels."""
    if fit not in ("crop", "squeeze"):
        raise ConfigError(f"fit expects crop or squeeze, got '{fit}'.")
    return _square(_upright(path, image_size, in_channels, draft=True), image_size, in_channels, fit)


def whole_picture(image: str | os.PathLike[str] | np.ndarray, in_channels: int, image_size: int) -> "PillowImage":
    """A picture file, or an array as for `image_of_array`, as an upright grey or RGB picture that is not cut.

    image_size   pixels a side that it will be resized to. A picture of up to `LARGE` pixels keeps every pixel, so that
                 it can be resized exactly as another program does; a larger one is shrunk to `DRAFT` times that size or
                 more on the way.

    Raises DataError as `load_image` and `image_of_array` do.
    """
    if in_channels not in (1, 3):
        raise ConfigError(f"Pictures can be read with 1 or 3 channels, and the model has in_channels={in_channels}.")
    require_pillow()
    if isinstance(image, np.ndarray):
        return _picture_of_array(image, in_channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _upright(expanded(image), image_size, in_channels, draft=False)


def _upright(path: Path, image_size: int, in_channels: int, draft: bool) -> "PillowImage":
    """Decode a file to a grey or RGB picture, turned as its EXIF says; a large one shrunk, see `_shrunk`."""
    from PIL import Image

    name = shown(path)
    damaged = f"{name} is a damaged image and cannot be read to its end"
    with opened_picture(path, name) as picture, guarded(DataError, damaged):
        if draft or picture.width * picture.height > LARGE:
            # Decode a JPEG that is several times too large at a half, a quarter or an eighth of its size.
            picture.draft(None, (DRAFT * image_size, DRAFT * image_size))
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
        if picture.width * picture.height > LARGE:
            with _one_large_at_a_time:
                small = _shrunk(picture, image_size, in_channels, name)
        else:
            small = _plain(picture, in_channels, name)
        return small if turn is None else small.transpose(Image.Transpose[turn])


def image_of_array(pixels: np.ndarray, image_size: int, in_channels: int, fit: str = "crop") -> np.ndarray:
    """The pixels of a picture -> uint8 (image_size, image_size, in_channels), cropped and resized as in `load_image`.

    pixels   uint8 (height, width), or (height, width, 1, 3 or 4) for grey, RGB and RGB with transparency

    Raises DataError for any other array, rather than guess what its values mean.
    """
    pixels = _checked_pixels(pixels)
    if pixels.shape == (image_size, image_size, in_channels):
        return pixels
    require_pillow()
    return _square(_picture_of_array(pixels, in_channels), image_size, in_channels, fit)


def _picture_of_array(pixels: np.ndarray, in_channels: int) -> "PillowImage":
    from PIL import Image

    pixels = _checked_pixels(pixels)
    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return _plain(Image.fromarray(np.ascontiguousarray(flat)), in_channels, "the array")


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """uint8 (height, width, channels). Raises DataError for any other array than `image_of_array` takes."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise DataError(
            "A picture as an array is uint8 from 0 to 255, of shape (height, width) or (height, width, 1, 3 or 4), "
            f"got {pixels.dtype} {pixels.shape}."
        )
    if 0 in pixels.shape:
        raise DataError(f"A picture as an array has pixels, got shape {pixels.shape}.")
    return pixels[..., None] if pixels.ndim == 2 else pixels  # (height, width, channels)


def _square(picture: "PillowImage", image_size: int, in_channels: int, fit: str) -> np.ndarray:
    """Crop and resize a grey or RGB picture to uint8 (image_size, image_size, in_channels)."""
    from PIL import Image, ImageOps

    shrinks = min(picture.size) > image_size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    size = image_size, image_size
    square = ImageOps.fit(picture, size, method) if fit == "crop" else picture.resize(size, method)
    return np.array(square, dtype=np.uint8).reshape(image_size, image_size, in_channels)  # (height, width, channels)


@contextmanager
def opened_picture(path: Path, name: str) -> "Iterator[PillowImage]":
    """Open a picture file and read its header alone; no pixel is decoded yet.

    Raises DataError for a path that is missing or not a file, and for a picture that is damaged, has none of FORMATS,
    or has too many pixels.
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
                    f"{name} is not an image in any format that tinymixer reads; give a PNG or JPEG file."
                ) from error
            raise
        with picture:
            limit = PIXELS.value // (COPIES_IN_MEMORY if picture.format in DECODED_WHOLE else 1)
            if max(picture.size) > LONGEST_SIDE:
                raise DataError(f"{name} is {max(picture.size):,} pixels long, and {LONGEST_SIDE:,} are the most here.")
            if picture.width * picture.height > limit:
                raise DataError(_too_large(name, limit))
            yield picture


def _formats_here() -> list[str]:
    """The FORMATS that this Pillow can open: AVIF may be missing, and MPO (several JPEGs) is opened as JPEG."""
    from PIL import Image

    Image.init()
    return [each for each in FORMATS if each in Image.OPEN]


def picture_endings() -> set[str]:
    """The file name endings of these formats, in lower case: ".png" and others."""
    from PIL import Image

    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}


def _too_large(name: str, limit: int) -> str:
    return (
        f"{name} has more than {limit:,} pixels and was not decoded; make it smaller first, or set {PIXELS.variable} "
        "higher."
    )


def _shrunk(picture: "PillowImage", image_size: int, in_channels: int, name: str) -> "PillowImage":
    """Shrink a large picture by averaging square boxes of pixels, to no less than `DRAFT` times the wanted size.

    Works strip by strip, so that memory never holds a second copy of full size.
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
    """Convert the picture to grey or RGB, with 8 bits a channel and transparent parts made white."""
    return _eight_bits(picture, name).convert("L" if in_channels == 1 else "RGB")


def _eight_bits(picture: "PillowImage", name: str) -> "PillowImage":
    """Convert the picture to 8 bits a channel, and make transparent parts white.

    Raises DataError for floating-point pixels.
    """
    from PIL import Image

    if picture.mode == "F":
        raise DataError(f"{name} has floating-point pixels, whose range is unknown; save it as a PNG with 8 bits.")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # 16-bit grey: Pillow's own conversion would clip at 255 instead of scaling.
        values = np.clip(np.asarray(picture), 0, 65_535).astype(np.uint32)  # (height, width)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "LAB":
        return picture.convert("RGB")  # the only conversion from LAB that Pillow has
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture
