"""Average pooling: the mean of each window, and of the whole image."""

from typing import NamedTuple

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.sliding import Windows


class AveragePoolingCache(NamedTuple):
    """Windows over the images with what hangs over, pixels of the image in each window (down, across, 1), the image."""

    windows: Windows
    pixels: Array
    image: tuple[int, int]


def average_pooling_forward(
    x: Array, size: int, stride: int, overhang: bool = False
) -> tuple[Array, AveragePoolingCache]:
    """The mean of each window of size x size pixels, for each channel by itself.

    x (B, height, width, C)  ->  y (B, down, across, C)

        y[b, u, v, c] = 1/size^2 * sum_{i, j} x[b, stride*u + i, stride*v + j, c]

    down = (height - size) / stride + 1, rounded down; pixels that no window reaches do not count.

    overhang   down is rounded up: the last windows may hang over the lower and the right border, so that every pixel
               is reached, and their mean is over the n < size^2 pixels that they have

    Raises ShapeError when no window fits, and for windows that hang over with pixels between them.

    See: "average_pooling" in lessons/cheatsheet.md, tests/ops/test_average_pooling.py
    """
    xp = namespace(x)
    expect_shape("x", x, "B height width C")
    images, height, width, channels = x.shape
    if overhang and stride > size:
        raise ShapeError(f"windows of {size} pixels that hang over need a stride of {size} or less, got {stride}")
    lower, right = (-(side - size) % stride if overhang else 0 for side in (height, width))
    windows = Windows((height + lower, width + right), (size, size), stride, 0)
    framed = x
    if lower or right:
        framed = xp.zeros((images, height + lower, width + right, channels), dtype=x.dtype)
        framed[:, :height, :width] = x
    total = xp.zeros((images, windows.down, windows.across, channels), dtype=statistics_dtype(x))
    for place in windows.take(framed):  # (B, down, across, C)
        total += place
    rows = [min(size, height - stride * u) for u in range(windows.down)]
    columns = [min(size, width - stride * v) for v in range(windows.across)]
    pixels = xp.asarray([[[row * column] for column in columns] for row in rows], dtype=total.dtype)
    return (total / pixels).astype(x.dtype, copy=False), AveragePoolingCache(windows, pixels, (height, width))


def average_pooling_backward(dy: Array, cache: AveragePoolingCache) -> Array:
    """Every pixel of a window has weight 1/n in its mean, n = size^2 or fewer where the window hangs over; a pixel in
    several windows receives the sum:

        dx[b, h, w, c] = sum of dy[b, u, v, c] / n[u, v] over the windows over (h, w)

    dy (B, down, across, C)  ->  dx (B, height, width, C)
    """
    windows, pixels, (height, width) = cache
    expect_shape("dy", dy, "B down across C", down=windows.down, across=windows.across)
    share = (dy / pixels).astype(dy.dtype, copy=False)
    dx = windows.put_back([share] * (windows.size[0] * windows.size[1]))
    return dx if windows.image == (height, width) else dx[:, :height, :width].copy()


def global_average_pooling_forward(x: Array) -> tuple[Array, Cache]:
    """The mean of each channel over the whole image (Lin et al. 2014, arXiv 1312.4400, section 3.2).

    x (B, height, width, C)  ->  y (B, C)

        y[b, c] = 1/(height*width) * sum_{h, w} x[b, h, w, c]

    Raises ShapeError unless x has four axes.

    See: "global_average_pooling" in lessons/cheatsheet.md, tests/ops/test_global_average_pooling.py
    """
    xp = namespace(x)
    expect_shape("x", x, "B height width C")
    return xp.mean(x, axis=(1, 2), dtype=statistics_dtype(x)).astype(x.dtype, copy=False), x.shape


def global_average_pooling_backward(dy: Array, cache: Cache) -> Array:
    """Every pixel has the same weight in the mean:

        dx[b, h, w, c] = dy[b, c] / (height*width)

    dy (B, C)  ->  dx (B, height, width, C)
    """
    images, height, width, channels = cache
    expect_shape("dy", dy, "B C", B=images, C=channels)
    return namespace(dy).broadcast_to((dy / (height * width))[:, None, None], cache).copy()
