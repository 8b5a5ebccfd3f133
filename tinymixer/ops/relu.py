"""ReLU (Nair and Hinton 2010)."""

from tinymixer.ops.array_library import Array, Cache, namespace


def relu_forward(x: Array) -> tuple[Array, Cache]:
    """Keep what is positive.

    x (...)  ->  y (...)

        y = max(x, 0)

    See: lessons/15_convolutions.ipynb, "relu" in lessons/cheatsheet.md, tests/ops/test_relu.py
    """
    y = namespace(x).maximum(x, 0)  # (...)
    return y, x > 0


def relu_backward(dy: Array, cache: Cache) -> Array:
    """The slope is 1 above 0 and 0 below:

        dx = dy where x > 0, else 0

    At 0 the function has a kink: any number from 0 to 1 is right, and 0 is taken, as everywhere in deep learning.

    dy (...)  ->  dx (...)
    """
    return dy * cache
