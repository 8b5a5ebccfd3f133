"""Group normalisation (Wu and He 2018, arXiv 1803.08494)."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def group_norm_forward(x: Array, scale: Array, bias: Array, groups: int, eps: float = 1e-5) -> tuple[Array, Cache]:
    """Normalise groups of neighbouring channels of each image, then scale and shift (Wu and He 2018, eq. 1 and 7).

    x (B, height, width, C), scale (C,), bias (C,)  ->  y (B, height, width, C)

        x_hat = (x - mean(x)) / sqrt(var(x) + eps)        y = scale * x_hat + bias

    mean and var go over the pixels and the C / groups channels of a group, for each image by itself.

    Raises ShapeError when the groups do not divide the channels, or scale or bias has another length.

    See: "group_norm" in lessons/cheatsheet.md, tests/ops/test_group_norm.py
    """
    xp = namespace(x)
    expect_shape("x", x, "B height width C")
    images, _, _, channels = x.shape
    expect_shape("scale", scale, "C", C=channels)
    expect_shape("bias", bias, "C", C=channels)
    if groups < 1 or channels % groups:
        raise ShapeError(f"expected groups that divide the {channels} channels, got {groups}")
    grouped = x.reshape(images, -1, groups, channels // groups)  # (B, height*width, groups, C/groups)
    centred = grouped - xp.mean(grouped, axis=(1, 3), keepdims=True, dtype=statistics_dtype(x))
    inv_std = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=(1, 3), keepdims=True) + float(eps))  # (B, 1, groups, 1)
    x_hat = (centred * inv_std).reshape(x.shape)  # (B, height, width, C)
    return (scale * x_hat + bias).astype(x.dtype, copy=False), (x_hat, inv_std, scale)


def group_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """As for LayerNorm. With g = scale * dy, and means over the group:

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat))
        dscale = sum(dy * x_hat)        dbias = sum(dy)

    The channels of a group differ in scale, so it stays inside the means; the sums go over images and pixels.

    dy (B, height, width, C)  ->  dx (B, height, width, C), dscale (C,), dbias (C,)
    """
    xp = namespace(dy)
    x_hat, inv_std, scale = cache
    images, height, width, channels = x_hat.shape
    expect_shape("dy", dy, "B height width C", B=images, height=height, width=width, C=channels)
    dscale = xp.sum(dy * x_hat, axis=(0, 1, 2), dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    dbias = xp.sum(dy, axis=(0, 1, 2), dtype=x_hat.dtype).astype(scale.dtype, copy=False)  # (C,)
    groups = images, -1, inv_std.shape[2], channels // inv_std.shape[2]  # (B, height*width, groups, C/groups)
    g, x_hat = (dy * scale).astype(x_hat.dtype, copy=False).reshape(groups), x_hat.reshape(groups)
    group_mean = xp.mean(g, axis=(1, 3), keepdims=True)  # (B, 1, groups, 1)
    dx = inv_std * (g - group_mean - x_hat * xp.mean(g * x_hat, axis=(1, 3), keepdims=True))
    return dx.reshape(dy.shape).astype(dy.dtype, copy=False), dscale, dbias
