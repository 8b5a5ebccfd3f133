"""Any picture file as an image of the model's size."""

import os
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymixer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# More than any camera's, and decoded in about a second and half a gigabyte.
LARGEST_IMAGE = 120_000_000


def load_image(path: str | os.PathLike[str], image_size: int, in_channels: int, invert: bool = False) -> np.ndarray:
    """A picture file -> uint8 (image_size, image_size, in_channels), for a model of 1 (grey) or 3 (RGB) channels.

    Turned upright by its EXIF orientation, cut to its central square, then resized: averaged when it shrinks, as the
    digits were made, bicubic when it grows. Transparent parts are laid on white; an animation gives its first frame.

    Nothing is inverted unless asked for. The digits are light strokes on black: a model trained on them needs
    `invert=True` for dark ink on white paper.
    Raises DataError, in a sentence, for a file that is missing, is no picture, is damaged, or is too large to decode.
    """
    if in_channels not in (1, 3):
        raise ConfigError(f"Pictures can be read with 1 or 3 channels, and the model has in_channels={in_channels}.")
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError("Reading picture files needs Pillow: pip install 'tinymixer[cli]'.") from error
    path = Path(path).expanduser()
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd tags and large sizes; here damage and size are errors or nothing.
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                _refuse_large(opened, path)
                upright = ImageOps.exif_transpose(opened)
                picture = _eight_bits(upright, path).convert("L" if in_channels == 1 else "RGB")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise DataError(f"{path} cannot be read as an image: {error.strerror}.") from error
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(path)) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image in any format Pillow knows; give a PNG or JPEG file.") from error
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error) as error:
        # Pillow's decoders raise any of these for a file that begins well and goes wrong later.
        raise DataError(f"{path} is a damaged image and cannot be read to its end ({error}).") from error
    shrinks = min(picture.size) > image_size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    square = ImageOps.fit(picture, (image_size, image_size), method)
    pixels = np.array(square, dtype=np.uint8).reshape(image_size, image_size, in_channels)  # (height, width, channels)
    return 255 - pixels if invert else pixels


def _refuse_large(picture: "PillowImage", path: Path) -> None:
    if picture.width * picture.height > LARGEST_IMAGE:
        raise DataError(_too_large(path))


def _too_large(path: Path) -> str:
    return f"{path} has more than {LARGEST_IMAGE:,} pixels and was not decoded; make it smaller first."


def _eight_bits(picture: "PillowImage", path: Path) -> "PillowImage":
    """The picture with 8 bits a channel and nothing transparent."""
    from PIL import Image

    if picture.mode == "F":
        raise DataError(
            f"{path} has floating-point pixels, whose range is anyone's guess; save it as a PNG with 8 bits."
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
