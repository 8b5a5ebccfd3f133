"""Dropout (Srivastava et al. 2014) and stochastic depth (Huang et al. 2016, arXiv 1603.09382).

The layer draws the Bernoulli masks (`Layer.keep_mask`) and passes them in as booleans: so the same seed drops the same
entries on every backend, and the backward pass uses the mask again instead of drawing one.
"""

from tinymixer.errors import ConfigError, ShapeError
from tinymixer.ops.array_library import Array, Cache
from tinymixer.ops.shapes import expect_shape


def dropout_forward(x: Array, keep: Array, rate: float) -> tuple[Array, Cache]:
    """Zero the entries that are not kept and scale up the others, so that the mean stays ("inverted" dropout).

    x (...), keep (...) boolean, drawn with probability 1 - rate  ->  y (...)

        y = x * keep / (1 - rate)

    Raises ShapeError when the mask has another shape than x, ConfigError for a rate outside [0, 1).

    See: lessons/13_overfitting.ipynb, "dropout" in lessons/cheatsheet.md, tests/ops/test_dropout.py
    """
    if keep.shape != x.shape:
        raise ShapeError(f"expected keep of the shape of x, {tuple(x.shape)}, got {tuple(keep.shape)}")
    return _masked(x, keep, rate, "dropout")


def dropout_backward(dy: Array, cache: Cache) -> Array:
    """An entry that was zeroed has no influence on y; the others were multiplied by 1 / (1 - rate):

        dx = dy * keep / (1 - rate)

    dy (...)  ->  dx (...)
    """
    keep, rate = cache
    return dy * keep * (1.0 / (1.0 - rate))


def drop_path_forward(x: Array, keep: Array, rate: float) -> tuple[Array, Cache]:
    """Drop the whole residual branch of the images that are not kept (stochastic depth).

    x (S, B, C), keep (B,) boolean, drawn with probability 1 - rate  ->  y (S, B, C)

        y[:, b] = x[:, b] * keep[b] / (1 - rate)

    Raises ShapeError when there is not one entry per image, ConfigError for a rate outside [0, 1).

    See: lessons/13_overfitting.ipynb, "drop_path" in lessons/cheatsheet.md, tests/ops/test_drop_path.py
    """
    expect_shape("x", x, "S B C")
    expect_shape("keep", keep, "B", B=x.shape[1])
    return _masked(x, keep.reshape(1, -1, 1), rate, "drop_path")


def drop_path_backward(dy: Array, cache: Cache) -> Array:
    """dx[:, b] = dy[:, b] * keep[b] / (1 - rate), as in dropout.        dy (S, B, C)  ->  dx (S, B, C)"""
    return dropout_backward(dy, cache)


def _masked(x: Array, keep: Array, rate: float, name: str) -> tuple[Array, Cache]:
    if not 0 <= rate < 1:
        raise ConfigError(f"the {name} rate must be at least 0 and below 1, got {rate}")
    # keep / (1 - rate) would be float64, so x * keep comes first. float(): a NumPy scalar would widen x as well.
    rate = float(rate)
    return x * keep * (1.0 / (1.0 - rate)), (keep, rate)
