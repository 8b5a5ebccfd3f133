"""LayerScale: a residual branch times one learned number for each channel (Touvron et al. 2021, arXiv 2103.17239)."""

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def layer_scale_forward(x: Array, scale: Array) -> tuple[Array, Cache]:
    """Multiply each channel by its own number (CaiT, section 2, equation 4: a product with a diagonal matrix).

    x (..., C), scale (C,)  ->  y (..., C)

        y[n, c] = scale[c] x[n, c]

    With a small first scale every block starts near the identity, so that deep networks train from the first step.

    Raises ShapeError when the sizes do not fit.

    See: lessons/09_mixer.ipynb, "layer_scale" in lessons/cheatsheet.md, tests/ops/test_layer_scale.py
    """
    expect_shape("scale", scale, "C")
    expect_shape("x", x, "... C", C=scale.shape[0])
    return x * scale, (x, scale)


def layer_scale_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Product rule; every row n shares the scale, so its gradient is a sum over all rows:

        dx[n, c] = scale[c] dy[n, c]        dscale[c] = sum_n x[n, c] dy[n, c]

    dy (..., C)  ->  dx (..., C), dscale (C,)
    """
    x, scale = cache
    channels = scale.shape[0]
    expect_shape("dy", dy, "... C", C=channels)
    products = (x * dy).reshape(-1, channels)  # (rows, C)
    dscale = namespace(dy).sum(products, axis=0, dtype=statistics_dtype(dy)).astype(dy.dtype, copy=False)  # (C,)
    return dy * scale, dscale
