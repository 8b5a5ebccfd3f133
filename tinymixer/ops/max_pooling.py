"""Max pooling: the largest value of each window."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.shapes import expect_shape
from tinymixer.ops.sliding import Windows


def max_pooling_forward(x: Array, size: int, stride: int, padding: int = 0) -> tuple[Array, Cache]:
    """The largest value of each window of size x size pixels, for each channel by itself (ResNet's stem: 3, 2, 1).

    x (B, height, width, C)  ->  y (B, down, across, C)

        y[b, u, v, c] = max_{i, j} x[b, stride*u + i - padding, stride*v + j - padding, c]

    Pixels beyond the border do not count. down = (height + 2 padding - size) / stride + 1, rounded down.

    Raises ShapeError when no window fits, and for a padding above size / 2, with which a window may lie outside.

    See: "max_pooling" in lessons/cheatsheet.md, tests/ops/test_max_pooling.py
    """
    xp = namespace(x)
    expect_shape("x", x, "B height width C")
    if 2 * padding > size:
        raise ShapeError(f"expected a padding of at most half the window's size {size}, got {padding}")
    windows = Windows(x.shape[1:3], (size, size), stride, padding)
    places = xp.stack(windows.take(x, -float("inf")))  # (size*size, B, down, across, C)
    return xp.max(places, axis=0), (xp.argmax(places, axis=0), windows)


def max_pooling_backward(dy: Array, cache: Cache) -> Array:
    """Only the largest value of a window reaches its y, so it alone receives the gradient:

        dx[b, h, w, c] = sum of dy[b, u, v, c] over the windows whose largest value is x[b, h, w, c]

    Of several equal ones the first in the window, row by row, receives all of it (as in PyTorch). There the maximum has
    a kink, and any way to share dy out among them is right.

    dy (B, down, across, C)  ->  dx (B, height, width, C)
    """
    largest, windows = cache
    images, down, across, channels = largest.shape
    expect_shape("dy", dy, "B down across C", B=images, down=down, across=across, C=channels)
    return windows.put_back([dy * (largest == place) for place in range(windows.size[0] * windows.size[1])])
