"""Rotations, shears, zooms, shifts and crops: affine maps, composed for each image and applied in one resampling.

A map leads from a pixel of the new image to the place in the old one that it is taken from, in pixels, relative to the
centre:

    source (row, column) = matrix @ (row, column) + offset

Transforming with M1 and then with M2 takes a pixel p from M1(M2(p)). So any number of them costs one interpolation, and
blurs the image once.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tinymixer.ops.array_library import Array, namespace


@dataclass(frozen=True)
class AffineMaps:
    """A map for each of B images: matrix float64 (B, 2, 2), offset float64 (B, 2), on the host."""

    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def identity(cls, count: int) -> Self:
        return cls(np.tile(np.eye(2), (count, 1, 1)), np.zeros((count, 2)))

    @classmethod
    def of(cls, rows: tuple[Any, Any], columns: tuple[Any, Any], row: Any = 0.0, column: Any = 0.0) -> Self:
        """From the matrix's two rows and the offset, numbers or arrays (B,)."""
        numbers = (*rows, *columns, row, column)
        entries = np.empty((max(np.size(number) for number in numbers), 6))  # (B, 6)
        for place, number in enumerate(numbers):
            entries[:, place] = number
        return cls(entries[:, :4].reshape(-1, 2, 2), entries[:, 4:])

    def then(self, other: "AffineMaps") -> "AffineMaps":
        """This transformation, followed by another one."""
        first, second, offset = self.matrix, other.matrix, other.offset
        # Written out: `@` takes ten times as long for many matrices of 2 x 2.
        matrix = first[:, :, :1] * second[:, :1] + first[:, :, 1:] * second[:, 1:]  # (B, 2, 2)
        moved = first[:, :, 0] * offset[:, :1] + first[:, :, 1] * offset[:, 1:]  # (B, 2)
        return AffineMaps(matrix, moved + self.offset)

    def then_some(self, images: np.ndarray, others: "AffineMaps") -> "AffineMaps":
        """This transformation, followed by other ones (n,) for those images, integers (n,)."""
        some = AffineMaps(self.matrix[images], self.offset[images]).then(others)
        matrix, offset = self.matrix.copy(), self.offset.copy()
        matrix[images], offset[images] = some.matrix, some.offset
        return AffineMaps(matrix, offset)


def rotation(degrees: np.ndarray) -> AffineMaps:
    """Turn counter-clockwise, (B,)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return AffineMaps.of((cosine, sine), (-sine, cosine))


def shear(along_rows: np.ndarray | float, along_columns: np.ndarray | float) -> AffineMaps:
    """Move each pixel along its row by `along_rows` times its distance below the centre, and likewise for columns."""
    return AffineMaps.of((1.0, -np.asarray(along_columns)), (-np.asarray(along_rows), 1.0))


def zoom(factor: np.ndarray) -> AffineMaps:
    """Enlarge by a factor (B,) about the centre."""
    return AffineMaps.of((1 / factor, 0.0), (0.0, 1 / factor))


def shift(rows: np.ndarray | float, columns: np.ndarray | float) -> AffineMaps:
    """Move the picture down and to the right, in pixels."""
    return AffineMaps.of((1.0, 0.0), (0.0, 1.0), -np.asarray(rows), -np.asarray(columns))


def crop_and_flip(crop: np.ndarray, flip: np.ndarray, padding: int) -> AffineMaps:
    """The weak augmentation's crop (B, 2), from an image padded by `padding`, and then its flip (B,), as one map."""
    offset = crop - float(padding)
    return AffineMaps.of((1.0, 0.0), (0.0, np.where(flip, -1.0, 1.0)), offset[:, 0], offset[:, 1])


def window(area: np.ndarray, aspect: np.ndarray, place: np.ndarray, height: int, width: int) -> AffineMaps:
    """Cut a window out and enlarge it to the whole image (Szegedy et al. 2015, section 6).

    area (B,) its share of the image's area; aspect (B,) its width over its height; place (B, 2) from 0, at the top or
    left, to 1, at the bottom or right
    """
    tall, wide = np.minimum(np.sqrt(area / aspect), 1.0), np.minimum(np.sqrt(area * aspect), 1.0)  # shares of the sides
    free = np.stack([(1 - tall) * height, (1 - wide) * width], axis=1)  # (B, 2) pixels
    offset = (place - 0.5) * free
    return AffineMaps.of((tall, 0.0), (0.0, wide), offset[:, 0], offset[:, 1])


def resample(images: Array, maps: AffineMaps) -> Array:
    """Take every pixel from where its map leads, between pixels by bilinear interpolation, beyond the border reflected.

    images (B, height, width, channels) uint8, or float of any scale  ->  float32, the same shape and scale
    """
    xp, (count, height, width) = namespace(images), images.shape[:3]
    numbers = np.concatenate([maps.matrix.reshape(count, 4), maps.offset], axis=1).astype(np.float32)  # (B, 6)
    numbers = xp.asarray(numbers)
    down = xp.asarray((np.arange(height) - (height - 1) / 2).astype(np.float32)).reshape(1, height, 1)
    across = xp.asarray((np.arange(width) - (width - 1) / 2).astype(np.float32)).reshape(1, 1, width)
    entry = [numbers[:, i].reshape(count, 1, 1) for i in range(6)]
    row, row_after, row_share = _between(
        entry[0] * down + entry[1] * across + (entry[4] + (height - 1) / 2), height
    )  # (B, height, width) each
    column, column_after, column_share = _between(
        entry[2] * down + entry[3] * across + (entry[5] + (width - 1) / 2), width
    )
    first = xp.asarray(np.arange(count, dtype=np.int32) * (height * width)).reshape(count, 1, 1)
    top, bottom = first + row * width, first + row_after * width
    upper = _mixed(images, top + column, top + column_after, column_share)  # (B, height, width, channels)
    lower = _mixed(images, bottom + column, bottom + column_after, column_share)
    lower -= upper
    lower *= row_share.reshape(count, height, width, 1)
    upper += lower
    return upper


def _between(place: Array, length: int) -> tuple[Array, Array, Array]:
    """The pixels before and after a place, int32, and its share of the way from one to the other, float32.

    Places outside 0 .. length - 1 are reflected at the outermost pixels, as np.pad's "reflect" does.
    """
    xp = namespace(place)
    period = 2.0 * max(length - 1, 1)
    place = xp.abs(place - period * xp.floor(place / period + 0.5))  # 0 .. length - 1
    before = xp.minimum(place.astype(np.int32), max(length - 2, 0))
    if length == 1:
        return before, before, place * 0.0
    return before, before + 1, place - before.astype(np.float32)


def _mixed(images: Array, before: Array, after: Array, share: Array) -> Array:
    """Pixels between those of two index arrays (B, height, width) into all pixels: float32 (B, height, width, C)."""
    one, other = _pixels(images, before), _pixels(images, after)
    other -= one
    other *= share.reshape(*share.shape, 1)
    one += other
    return one


def _pixels(images: Array, indices: Array) -> Array:
    """The pixels at those places of the flattened images: float32 (*indices.shape, channels)."""
    channels = images.shape[3]
    if isinstance(images, np.ndarray):  # a pixel as one opaque item: faster than a copy for every channel
        items = np.ascontiguousarray(images).reshape(-1).view(f"V{channels * images.itemsize}")
        taken = items.take(indices).view(images.dtype).reshape(*indices.shape, channels)
    else:
        taken = namespace(images).take(images.reshape(-1, channels), indices, axis=0)
    return taken.astype(np.float32)
