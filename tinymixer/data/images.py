"""Any picture file as an image of the model's size."""

import os
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.data.paths import expanded, shown
from tinymixer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# More than any camera's, and decoded in about a second and half a gigabyte.
LARGEST_IMAGE = 120_000_000
DRAFT = 4  # times the size that is wanted: a JPEG is decoded at no less
# What Pillow's decoders raise for a file that begins well and goes wrong later.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, MemoryError, struct.error)


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
    """A side in pixels. Raises ConfigError for anything but a whole number of at least 1."""
    if isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer)) or image_size < 1:
        raise ConfigError(f"image_size is the side of the images in pixels, 1 or more, got {image_size!r}.")
    return int(image_size)


def require_pillow() -> None:
    """Raise DataError, with what to do, where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise DataError("Reading picture files needs Pillow: pip install 'tinymixer[cli]'.") from error


def read_picture(path: Path, image_size: int, in_channels: int, fit: str) -> np.ndarray:
    """What `load_image` and a folder of pictures do with one file, so that both see the same pixels."""
    from PIL import Image, ImageOps

    if fit not in ("crop", "squeeze"):
        raise ConfigError(f"fit expects crop or squeeze, got '{fit}'.")
    mode, name = "L" if in_channels == 1 else "RGB", shown(path)
    try:
        with Image.open(path) as opened:
            _refuse_large(opened, name)
            if opened.format == "EPS":
                raise DataError(f"{name} is an EPS file, a program that is not run here; save it as a PNG.")
            # A JPEG several times too large is decoded at a half, a quarter or an eighth of its size.
            opened.draft(None, (DRAFT * image_size, DRAFT * image_size))
            upright = ImageOps.exif_transpose(opened)
            picture = _eight_bits(upright, name).convert(mode)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise DataError(f"{name} cannot be read as an image: {error.strerror}.") from error
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(name)) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image in any format Pillow knows; give a PNG or JPEG file.") from error
    except UNREADABLE as error:
        raise DataError(f"{name} is a damaged image and cannot be read to its end ({error}).") from error
    shrinks = min(picture.size) > image_size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    size = image_size, image_size
    square = ImageOps.fit(picture, size, method) if fit == "crop" else picture.resize(size, method)
    return np.array(square, dtype=np.uint8).reshape(image_size, image_size, in_channels)  # (height, width, channels)


def _refuse_large(picture: "PillowImage", name: str) -> None:
    if picture.width * picture.height > LARGEST_IMAGE:
        raise DataError(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name} has more than {LARGEST_IMAGE:,} pixels and was not decoded; make it smaller first."


def _eight_bits(picture: "PillowImage", name: str) -> "PillowImage":
    """The picture with 8 bits a channel and nothing transparent."""
    from PIL import Image

    if picture.mode == "F":
        raise DataError(
            f"{name} has floating-point pixels, whose range is anyone's guess; save it as a PNG with 8 bits."
        )
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # 16-bit grey, which Pillow's own conversion would clip at 255 instead of scaling.
        values = np.asarray(picture).astype(np.int64)  # (height, width)
        return Image.fromarray(np.clip((values + 128) // 257, 0, 255).astype(np.uint8))
    if picture.mode == "LAB":
        return picture.convert("RGB")  # the one conversion Pillow has for it
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture
