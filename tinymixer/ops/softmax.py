"""Softmax over the last axis: rows of scores become rows of probabilities.

The loss has a softmax of its own, joined with the logarithm (`softmax_cross_entropy.py`). This one is attention's.
"""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def softmax_forward(x: Array) -> tuple[Array, Cache]:
    """Exponentials of each row, divided by their sum.

    x (..., N)  ->  y (..., N), y > 0, rows that sum to 1

        y[i] = exp(x[i] - max(x)) / sum_j exp(x[j] - max(x))

    Subtracting the row's maximum changes no y, since it divides numerator and denominator by the same number, and keeps
    exp from overflowing. Raises ShapeError where x has no axis.

    See: lessons/14_attention.ipynb, "softmax" in lessons/cheatsheet.md, tests/ops/test_softmax.py
    """
    xp = namespace(x)
    expect_shape("x", x, "... N")
    y = (x - xp.max(x, axis=-1, keepdims=True)).astype(statistics_dtype(x), copy=False)  # (..., N)
    xp.exp(y, out=y)
    y /= xp.sum(y, axis=-1, keepdims=True)
    return y.astype(x.dtype, copy=False), y


def softmax_backward(dy: Array, cache: Cache) -> Array:
    """Every y of a row depends on every x of it, through the sum:

        derivative of y[i] with respect to x[j]  =  y[i] * (1 if i = j else 0) - y[i] * y[j]

        dx[j] = y[j] * (dy[j] - sum_i dy[i] * y[i])

    The second line is the first one times dy[i], summed over i. What is subtracted is one number for the whole row: the
    mean of dy, weighted by y.

    dy (..., N)  ->  dx (..., N)
    """
    xp = namespace(dy)
    y = cache
    expect_shape("dy", dy, "... N", N=y.shape[-1])
    dx = dy * y  # (..., N)
    dx -= y * xp.sum(dx, axis=-1, keepdims=True)
    return dx.astype(dy.dtype, copy=False)
