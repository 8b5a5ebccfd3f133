"""Windows that slide over images: where they lie, and how their pixels are taken out and put back."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, namespace
from tinymixer.ops.precision import statistics_dtype

CACHE = 2**20  # bytes of columns that are made at once


@dataclass(frozen=True)
class Windows:
    """Windows of `size` (rows, columns) over images of `image` (height, width) pixels with a border around them.

    stride    pixels from one window to the next, down and across
    padding   pixels of border on each side

    Raises ShapeError where no window fits, and for a size or stride below 1 or a padding below 0.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    stride: int
    padding: int

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.stride < 1 or self.padding < 0:
            raise ShapeError(
                f"expected windows of 1 x 1 or more, a stride of 1 or more and a padding of 0 or more, got windows of "
                f"{self.size[0]} x {self.size[1]}, stride {self.stride}, padding {self.padding}"
            )
        if min(self.down, self.across) < 1:
            raise ShapeError(
                f"a window of {self.size[0]} x {self.size[1]} pixels does not fit into an image of {self.image[0]} x "
                f"{self.image[1]} with padding {self.padding}"
            )

    @property
    def down(self) -> int:
        """Windows from top to bottom: (height + 2 padding - rows) / stride + 1, rounded down."""
        return (self.image[0] + 2 * self.padding - self.size[0]) // self.stride + 1

    @property
    def across(self) -> int:
        """Windows from left to right."""
        return (self.image[1] + 2 * self.padding - self.size[1]) // self.stride + 1

    @property
    def places(self) -> Iterator[tuple[slice, slice]]:
        """For each place in a window, row by row: the pixels of the padded image at that place in all windows."""
        for row in range(self.size[0]):
            for column in range(self.size[1]):
                yield (
                    slice(row, row + self.stride * (self.down - 1) + 1, self.stride),
                    slice(column, column + self.stride * (self.across - 1) + 1, self.stride),
                )

    def framed(self, x: Array, value: float = 0.0) -> Array:
        """A copy of x (B, height, width, C) with a border: (B, height + 2 padding, width + 2 padding, C)."""
        border, (height, width) = self.padding, self.image
        images, _, _, channels = x.shape
        framed = namespace(x).zeros((images, height + 2 * border, width + 2 * border, channels), dtype=x.dtype)
        if value:
            framed.fill(value)
        framed[:, border : border + height, border : border + width] = x
        return framed

    def take(self, x: Array, value: float = 0.0) -> list[Array]:
        """One view (B, down, across, C) of the padded images for each place in a window."""
        framed = self.framed(x, value) if self.padding else x
        return [framed[:, rows, columns] for rows, columns in self.places]

    def columns(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """The pixels of each window as a row of a matrix, row by row, then channels ("im2col"), a few images at a time.

        x (B, height, width, C)  ->  images and their columns (images*down*across, rows*columns*C), which the next
        images' overwrite

        Pixels that are neighbours in a row of the image are neighbours in memory. So a window is as many stretches of
        memory as it has rows, of columns*C numbers each, and is copied in these.

        All images' columns would be rows*columns times x. So as many are made at once as fit into a processor's cache;
        a GPU takes all images.
        """
        xp, (rows, columns) = namespace(x), self.size
        images, height, width, channels = x.shape
        if self.size == (1, 1) and not self.padding:  # no more than x
            yield slice(0, images), x[:, :: self.stride, :: self.stride].reshape(-1, channels)
            return
        bytes_of_one = self.down * self.across * rows * columns * channels * x.dtype.itemsize
        together = max(1, min(images, CACHE // bytes_of_one)) if isinstance(x, np.ndarray) else max(1, images)
        framed = self.framed(x[:together])  # (together, height + 2 padding, width + 2 padding, C)
        flat = framed.reshape(together, framed.shape[1], -1)
        slide = xp.lib.stride_tricks.sliding_window_view
        windows = slide(flat, (rows, columns * channels), axis=(1, 2))[:, :: self.stride, :: self.stride * channels]
        matrix = xp.empty(windows.shape, dtype=x.dtype)  # (together, down, across, rows, columns*C)
        border = self.padding
        for start in range(0, images, together):
            count = min(together, images - start)
            framed[:count, border : border + height, border : border + width] = x[start : start + count]
            matrix[:count] = windows[:count]
            yield slice(start, start + count), matrix[:count].reshape(-1, rows * columns * channels)

    def turned(self) -> "Windows | None":
        """The windows over a convolution's dy whose convolution is its dx, one per pixel of x.

        None with a stride, and where a border is wider than such windows reach.
        """
        rows, columns = self.size
        if self.stride != 1 or rows != columns or self.padding >= rows:
            return None
        return Windows((self.down, self.across), self.size, 1, rows - 1 - self.padding)

    def put_back(self, parts: list[Array]) -> Array:
        """The transpose of `take`: each pixel receives the sum of what stands at its places in all windows over it.

        parts, one array (B, down, across, C) per place  ->  (B, height, width, C); what falls on the border is dropped
        """
        images, _, _, channels = parts[0].shape
        border, (height, width) = self.padding, self.image
        shape = images, height + 2 * border, width + 2 * border, channels
        framed = namespace(parts[0]).zeros(shape, dtype=statistics_dtype(parts[0]))
        for (rows, columns), part in zip(self.places, parts, strict=True):
            framed[:, rows, columns] += part
        return framed[:, border : border + height, border : border + width].astype(parts[0].dtype, copy=False)
