"""Average pooling: the mean of each window, and of the whole image."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.sliding import Windows


def average_pooling_forward(x: Array, size: int, stride: int) -> tuple[Array, Cache]:
    """The mean of each window of size x size pixels, for each channel by itself.

    x (B, height, width, C)  ->  y (B, down, across, C)

        y[b, u, v, c] = 1/size^2 * sum_{i, j} x[b, stride*u + i, stride*v + j, c]

    down = (height - size) / stride + 1, rounded down; pixels that no window reaches do not count.

    Raises ShapeError when no window fits.

    See: "average_pooling" in lessons/cheatsheet.md, tests/ops/test_average_pooling.py
    """
    xp = namespace(x)
    expect_shape("x", x, "B height width C")
    windows = Windows(x.shape[1:3], (size, size), stride, 0)
    total = xp.zeros((x.shape[0], windows.down, windows.across, x.shape[3]), dtype=statistics_dtype(x))
    for place in windows.take(x):  # (B, down, across, C)
        total += place
    return (total / size**2).astype(x.dtype, copy=False), windows


def average_pooling_backward(dy: Array, cache: Cache) -> Array:
    """Every pixel of a window has weight 1/size^2 in its mean; a pixel in several windows receives the sum:

        dx[b, h, w, c] = 1/size^2 * sum of dy[b, u, v, c] over the windows over (h, w)

    dy (B, down, across, C)  ->  dx (B, height, width, C)
    """
    windows = cache
    expect_shape("dy", dy, "B down across C", down=windows.down, across=windows.across)
    count = windows.size[0] * windows.size[1]
    return windows.put_back([dy / count] * count)


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
