"""Weight standardisation: the weights of a convolution are normalised, in the place of its activations."""

import math

from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_shape


def weight_standardisation_forward(weight: Array, eps: float = 1e-10) -> tuple[Array, Cache]:
    """Give the weights of each output mean 0 and variance 1 (Qiao et al. 2019, arXiv 1903.10520, eq. 5).

    weight (kh, kw, I, O)  ->  y (kh, kw, I, O)

        y[:, o] = (weight[:, o] - mean_o) / sqrt(var_o + eps)

    mean_o and var_o go over the N = kh*kw*I weights of one output (its fan-in).

    Raises ShapeError unless the weight has four axes.

    See: "weight_standardisation" in lessons/cheatsheet.md, tests/ops/test_weight_standardisation.py
    """
    y, inv_std = _standardised(weight, eps)
    return y.astype(weight.dtype, copy=False), (y, inv_std)


def weight_standardisation_backward(dy: Array, cache: Cache) -> Array:
    """As for LayerNorm without scale and bias, with means over an output's N weights:

        dweight = inv_std * (dy - mean(dy) - y * mean(dy * y))

    dy (kh, kw, I, O)  ->  dweight (kh, kw, I, O)
    """
    y, inv_std = cache
    return _gradient(dy.astype(y.dtype, copy=False), y, inv_std).astype(dy.dtype, copy=False)


def scaled_weight_standardisation_forward(weight: Array, gain: Array, eps: float = 1e-6) -> tuple[Array, Cache]:
    """Standardise, then divide by the root of the fan-in N, so that the variance of the activations is kept.

    weight (kh, kw, I, O), gain (O,)  ->  y (kh, kw, I, O)

        y[:, o] = gain[o] * (weight[:, o] - mean_o) / (sqrt(N) * sqrt(var_o + eps))

    This is eq. 1 of Brock et al. 2021a (arXiv 2101.08692) with a gain to learn, as in their section 4.1, and an eps
    that keeps it finite.

    Raises ShapeError unless the weight has four axes and the gain one entry for each output.

    See: "scaled_weight_standardisation" in lessons/cheatsheet.md, tests/ops/test_scaled_weight_standardisation.py
    """
    w_hat, inv_std = _standardised(weight, eps)  # (kh, kw, I, O), (O,)
    expect_shape("gain", gain, "O", O=weight.shape[3])
    root = math.sqrt(weight.size // weight.shape[3])  # of N
    return (w_hat * (gain / root)).astype(weight.dtype, copy=False), (w_hat, inv_std, gain, root)


def scaled_weight_standardisation_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """With g = dy * gain / sqrt(N), the gradient that reaches w_hat, the standardised weight:

        dweight = inv_std * (g - mean(g) - w_hat * mean(g * w_hat))
        dgain[o] = sum(dy[:, o] * w_hat[:, o]) / sqrt(N)

    dy (kh, kw, I, O)  ->  dweight (kh, kw, I, O), dgain (O,)
    """
    xp = namespace(dy)
    w_hat, inv_std, gain, root = cache
    dgain = xp.sum(dy * w_hat, axis=(0, 1, 2), dtype=w_hat.dtype) / root  # (O,)
    g = (dy * (gain / root)).astype(w_hat.dtype, copy=False)  # (kh, kw, I, O)
    return _gradient(g, w_hat, inv_std).astype(dy.dtype, copy=False), dgain.astype(gain.dtype, copy=False)


def _standardised(weight: Array, eps: float) -> tuple[Array, Array]:
    """The standardised weight (kh, kw, I, O), and one divided by the standard deviation of each output (O,)."""
    xp = namespace(weight)
    expect_shape("weight", weight, "kh kw I O")
    centred = weight - xp.mean(weight, axis=(0, 1, 2), dtype=statistics_dtype(weight))  # (kh, kw, I, O)
    inv_std = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=(0, 1, 2)) + float(eps))  # (O,)
    return centred * inv_std, inv_std


def _gradient(g: Array, w_hat: Array, inv_std: Array) -> Array:
    """inv_std * (g - mean(g) - w_hat * mean(g * w_hat)), all (kh, kw, I, O) but inv_std (O,)."""
    xp = namespace(g)
    kh, kw, inputs, outputs = w_hat.shape
    expect_shape("dy", g, "kh kw I O", kh=kh, kw=kw, I=inputs, O=outputs)
    along = xp.mean(g * w_hat, axis=(0, 1, 2))  # (O,)
    return inv_std * (g - xp.mean(g, axis=(0, 1, 2)) - w_hat * along)
