"""Exercises of lesson 05: LayerNorm."""

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import layer_norm
from tinymixer.lessons.exercise import Mistake, call_pair, exercise

EPS = 1e-6


def _forward_inputs(generator):
    """x (..., C), scale (C,), bias (C,): sizes different, then alike; rows as small as eps, a constant row, float32."""
    shapes = (3, 2, 5), (4, 4, 4), (4, 4), (1, 6)
    for shape in shapes:
        yield 2 + 3 * generator.normal(size=shape), *_parameters(generator, shape[-1])
    small = 1e-3 * generator.normal(size=(2, 3, 5))
    small[0, 1] = 7.0  # a row without variance
    yield small, *_parameters(generator, 5)
    yield tuple(array.astype(np.float32) for array in (generator.normal(size=(2, 3, 8)), *_parameters(generator, 8)))


def _parameters(generator, channels):
    return generator.normal(size=channels), generator.normal(size=channels)


def _token_shapes():
    """(S, B, C): all sizes different, then alike, then one image."""
    return (3, 2, 5), (4, 4, 4), (3, 1, 6)


def _backward_inputs(generator):
    """dy (S, B, C) and the cache of a forward pass."""
    for shape in _token_shapes():
        x = 2 + 3 * generator.normal(size=shape)
        _, cache = ops.layer_norm_forward(x, *_parameters(generator, shape[-1]))
        yield generator.normal(size=shape), cache


def _forward(x, scale, bias, eps=EPS):
    return ops.layer_norm_forward(x, scale, bias, eps)


def _normalised(x, *, axis=-1, divide=lambda variance: np.sqrt(variance + EPS), **keywords):
    """A normalisation with switches for several mistakes."""
    centred = x - x.mean(axis=axis, keepdims=True)
    return centred / divide(np.var(x, axis=axis, keepdims=True, **keywords))


def _wrong_forward(**keywords):
    def forward(x, scale, bias):
        return scale * _normalised(x, **keywords) + bias, None

    return forward


NOT_KEPT = (
    "A mean over the channels has lost its axis, so it no longer lines up with its own row: (S, B) next to (S, B, C). "
    "Keep the axis with length 1."
)

exercise(
    "5.1",
    "LayerNorm forward",
    "my_layer_norm_forward",
    reference=_forward,
    cases=_forward_inputs,
    returns=("y", "cache"),
    tolerance=1e-5,  # float32 among the inputs
    mistakes=[
        Mistake(
            NOT_KEPT,
            lambda x, scale, bias: (scale * (x - x.mean(axis=-1)) / np.sqrt(x.var(axis=-1) + EPS) + bias, None),
        ),
        Mistake(
            NOT_KEPT,
            lambda x, scale, bias: (
                scale * (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1) + EPS) + bias,
                None,
            ),
        ),
        Mistake(
            "Mean and variance run over axis 0, the tokens. LayerNorm keeps each token to itself: the statistics run "
            "over its channels, the last axis.",
            _wrong_forward(axis=0),
        ),
        Mistake(
            "Mean and variance run over the whole array. Every row has its own: give the mean an axis.",
            _wrong_forward(axis=None),
        ),
        Mistake(
            "The row was divided by its variance. It should be divided by its standard deviation, the root of the "
            "variance.",
            _wrong_forward(divide=lambda variance: variance + EPS),
        ),
        Mistake(
            "eps is added outside the root. It belongs to the variance; for a nearly constant row that makes a "
            "difference of up to a factor of 1000.",
            _wrong_forward(divide=lambda variance: np.sqrt(variance) + EPS),
        ),
        Mistake(
            "eps is missing: a row whose channels are all equal has variance 0, and 0 / 0 is not a number.",
            _wrong_forward(divide=np.sqrt),
        ),
        Mistake("The variance was divided by C - 1, as for a sample. LayerNorm divides by C.", _wrong_forward(ddof=1)),
        Mistake(
            "Scale and bias are missing: the normalised row is right, but y is more than that.",
            lambda x, scale, bias: (_normalised(x), None),
        ),
        Mistake(
            "The variance is taken about 0: it is the mean of the squares of x. The mean must be subtracted first.",
            lambda x, scale, bias: (scale * (x - _mean(x)) / np.sqrt(_mean(x * x) + EPS) + bias, None),
        ),
        Mistake(
            "The mean is not subtracted.",
            lambda x, scale, bias: (scale * x / np.sqrt(x.var(axis=-1, keepdims=True) + EPS) + bias, None),
        ),
    ],
)


def _scale_and_bias_gradients(dy, x_hat):
    channels = x_hat.shape[-1]
    return ops.layer_norm_backward(dy, (x_hat, np.ones((*x_hat.shape[:-1], 1)), np.ones(channels)))[1:]


exercise(
    "5.2",
    "Gradients of scale and bias",
    "my_scale_and_bias_gradients",
    reference=_scale_and_bias_gradients,
    cases=lambda generator: ((dy, cache[0]) for dy, cache in _backward_inputs(generator)),
    returns=("dscale", "dbias"),
    mistakes=[
        Mistake(
            "The sum runs over one axis only. The rows take up two axes here, tokens and images, and all of them share "
            "scale and bias.",
            lambda dy, x_hat: ((dy * x_hat).sum(axis=0), dy.sum(axis=0)),
        ),
        Mistake(
            "The sum runs over the channels. Each channel has a scale of its own: sum over everything else.",
            lambda dy, x_hat: ((dy * x_hat).sum(axis=-1), dy.sum(axis=-1)),
        ),
        Mistake(
            "The sum over the rows is missing: all tokens of all images use the same scale and bias, and their "
            "gradients add up.",
            lambda dy, x_hat: (dy * x_hat, dy),
        ),
        Mistake(
            "This is the mean over the rows. Every row adds its whole gradient: take the sum.",
            lambda dy, x_hat: ((dy * x_hat).mean(axis=(0, 1)), dy.mean(axis=(0, 1))),
        ),
        Mistake(
            "dscale is the sum of dy alone, which belongs to dbias. Are the two swapped? Or what is the scale "
            "multiplied by on its way to y?",
            lambda dy, x_hat: (dy.sum(axis=(0, 1)), None),
        ),
        Mistake(
            "dscale was multiplied after summing. Each dy belongs with the x_hat of its own row: multiply first.",
            lambda dy, x_hat: (dy.sum(axis=(0, 1)) * x_hat.sum(axis=(0, 1)), None),
        ),
    ],
)


def _jacobian_inputs(generator):
    """x_hat (C,) and inv_std of a few rows."""
    for channels in (5, 3, 2):
        row = 3 * generator.normal(size=channels)
        _, (x_hat, inv_std, _) = ops.layer_norm_forward(row, np.ones(channels), np.zeros(channels))
        yield x_hat, float(inv_std[0])


def _jacobian(x_hat, inv_std):
    """Row j is what the backward pass makes of a dy with a 1 at j."""
    channels = len(x_hat)
    cache = (np.tile(x_hat, (channels, 1)), np.full((channels, 1), inv_std), np.ones(channels))
    return ops.layer_norm_backward(np.eye(channels), cache)[0]


exercise(
    "5.3",
    "The Jacobian of the normalisation",
    "my_normalise_jacobian",
    reference=_jacobian,
    cases=_jacobian_inputs,
    returns="jacobian",
    mistakes=[
        Mistake(
            "The variance's part multiplies x_hat by itself element by element. Entry (j, i) holds x_hat_i times "
            "x_hat_j: every pair.",
            lambda x_hat, inv_std: inv_std * (np.eye(len(x_hat)) - 1 / len(x_hat) - x_hat * x_hat / len(x_hat)),
        ),
        Mistake(
            "The mean's part, 1/C, is on the diagonal only. The mean moves with every x and is subtracted from every "
            "x, so it is in all entries.",
            lambda x_hat, inv_std: (
                inv_std * (np.eye(len(x_hat)) * (1 - 1 / len(x_hat)) - np.outer(x_hat, x_hat) / len(x_hat))
            ),
        ),
        Mistake(
            "The variance's part is not divided by C.",
            lambda x_hat, inv_std: inv_std * (np.eye(len(x_hat)) - 1 / len(x_hat) - np.outer(x_hat, x_hat)),
        ),
        Mistake(
            "The variance's part is missing, or it was never subtracted.",
            lambda x_hat, inv_std: inv_std * (np.eye(len(x_hat)) - 1 / len(x_hat)),
        ),
        Mistake(
            "The mean's part is missing, or it was never subtracted.",
            lambda x_hat, inv_std: inv_std * (np.eye(len(x_hat)) - np.outer(x_hat, x_hat) / len(x_hat)),
        ),
        Mistake(
            "The variance's part has the wrong sign.",
            lambda x_hat, inv_std: (
                inv_std * (np.eye(len(x_hat)) - 1 / len(x_hat) + np.outer(x_hat, x_hat) / len(x_hat))
            ),
        ),
        Mistake(
            "The factor in front of the bracket is missing: all three parts are divided by the standard deviation.",
            lambda x_hat, inv_std: np.eye(len(x_hat)) - 1 / len(x_hat) - np.outer(x_hat, x_hat) / len(x_hat),
        ),
    ],
)


def _wrong_dx(formula):
    """A backward pass with dx from formula(g, x_hat, inv_std) and right dscale and dbias."""

    def backward(dy, cache):
        x_hat, inv_std, scale = cache
        return formula(dy * scale, x_hat, inv_std), *ops.layer_norm_backward(dy, cache)[1:]

    return backward


def _mean(values):
    return values.mean(axis=-1, keepdims=True)


exercise(
    "5.4",
    "LayerNorm backward",
    "my_layer_norm_backward",
    reference=ops.layer_norm_backward,
    cases=_backward_inputs,
    returns=("dx", "dscale", "dbias"),
    mistakes=[
        Mistake(
            "The third term of dx is missing, or comes out as 0: the variance moves with every x, too. (A product of "
            "means is not a mean of products: the mean of x_hat is 0.) A check with dy all ones would not have "
            "noticed.",
            layer_norm.variance_term_missing,
        ),
        Mistake(
            "The second term of dx is missing: every x of the row moves the mean that is subtracted from all of them.",
            layer_norm.mean_term_missing,
        ),
        Mistake(
            "The scale is forgotten in dx: what reaches x_hat is not dy, but dy times what stands between x_hat and y.",
            layer_norm.scale_forgotten_in_dx,
        ),
        Mistake(
            "dx lacks the factor in front of the bracket, one over the standard deviation.",
            layer_norm.not_divided_by_the_deviation,
        ),
        Mistake(
            "The two means in dx run over axis 0. They belong to one row: over its channels, the last axis.",
            layer_norm.means_over_the_wrong_axis,
        ),
        Mistake(
            "The two means in dx have lost their axis, so they no longer line up with their own rows. Keep it with "
            "length 1.",
            _wrong_dx(lambda g, x_hat, inv_std: inv_std * (g - g.mean(-1) - x_hat * (g * x_hat).mean(-1))),
        ),
        Mistake(
            "The two means in dx run over the whole array. They belong to one row: over its channels, the last axis.",
            _wrong_dx(lambda g, x_hat, inv_std: inv_std * (g - g.mean() - x_hat * (g * x_hat).mean())),
        ),
        Mistake(
            "The third term of dx has its mean, but that mean must still be multiplied by the row's x_hat.",
            _wrong_dx(lambda g, x_hat, inv_std: inv_std * (g - _mean(g) - _mean(g * x_hat))),
        ),
        Mistake(
            "The bracket of dx has sums where means belong: both have a factor of 1/C.",
            _wrong_dx(
                lambda g, x_hat, inv_std: (
                    inv_std * (g - g.sum(-1, keepdims=True) - x_hat * (g * x_hat).sum(-1, keepdims=True))
                )
            ),
        ),
        Mistake(
            "The third term of dx has the wrong sign.",
            _wrong_dx(lambda g, x_hat, inv_std: inv_std * (g - _mean(g) + x_hat * _mean(g * x_hat))),
        ),
        Mistake(
            "The third term of dx is divided by C - 1, where the variance was divided by C.",
            layer_norm.variance_over_one_less,
        ),
        Mistake(
            "dscale is the sum of dy alone, which belongs to dbias. Are the two swapped? Or what is the scale "
            "multiplied by on its way to y?",
            layer_norm.scale_gradient_without_x_hat,
        ),
    ],
)


def _rms_norm_forward(x, scale, eps=EPS):
    inv_rms = 1.0 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)  # (S, B, 1)
    x_hat = x * inv_rms  # (S, B, C)
    return scale * x_hat, (x_hat, inv_rms, scale)


def _rms_norm_backward(dy, cache):
    x_hat, inv_rms, scale = cache
    g = dy * scale  # (S, B, C)
    return inv_rms * (g - x_hat * _mean(g * x_hat)), np.sum(dy * x_hat, axis=(0, 1))


def _rms_backward(formula):
    """RMSNorm's pair with gradients from formula(dy, g, x_hat, inv_rms)."""

    def backward(dy, cache):
        x_hat, inv_rms, scale = cache
        return formula(dy, dy * scale, x_hat, inv_rms)

    return _rms_norm_forward, backward


def _rms_forward(formula):
    """RMSNorm's pair with x_hat from formula(x) and the right gradients."""
    return lambda x, scale: (scale * formula(x), _rms_norm_forward(x, scale)[1]), _rms_norm_backward


def _rms_inputs(generator):
    """dy (S, B, C), x (S, B, C), scale (C,); the last x has a row of zeros."""
    for shape in _token_shapes():
        x = 1 + 2 * generator.normal(size=shape)
        yield generator.normal(size=shape), x, generator.normal(size=shape[-1])
    x = 1e-3 * generator.normal(size=(2, 3, 4))
    x[1, 1] = 0
    yield generator.normal(size=(2, 3, 4)), x, generator.normal(size=4)


exercise(
    "5.5",
    "RMSNorm, both ways",
    ("my_rms_norm_forward", "my_rms_norm_backward"),
    reference=(_rms_norm_forward, _rms_norm_backward),
    cases=_rms_inputs,
    returns=("y", "dx", "dscale"),
    call=call_pair,
    mistakes=[
        Mistake(
            "The forward pass subtracts the mean: that is LayerNorm. RMSNorm only divides.",
            _rms_forward(_normalised),
        ),
        Mistake(
            "The forward pass divides by the standard deviation. RMSNorm divides by the root of the mean square, "
            "without subtracting the mean.",
            _rms_forward(lambda x: x / np.sqrt(np.var(x, axis=-1, keepdims=True) + EPS)),
        ),
        Mistake(
            "The forward pass divides by the root of the sum of the squares. It should be the root of their mean.",
            _rms_forward(lambda x: x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + EPS)),
        ),
        Mistake(
            "eps is added outside the root; it belongs to the mean square.",
            _rms_forward(lambda x: x / (np.sqrt(_mean(x * x)) + EPS)),
        ),
        Mistake(
            "dx still has LayerNorm's second term. No mean is subtracted here, so no path leads through it.",
            _rms_backward(
                lambda dy, g, x_hat, inv_rms: (
                    inv_rms * (g - _mean(g) - x_hat * _mean(g * x_hat)),
                    (dy * x_hat).sum(axis=(0, 1)),
                )
            ),
        ),
        Mistake(
            "dx has only the direct path. The rms, which everything is divided by, moves with every x, too.",
            _rms_backward(lambda dy, g, x_hat, inv_rms: (inv_rms * g, (dy * x_hat).sum(axis=(0, 1)))),
        ),
        Mistake(
            "The scale is forgotten in dx: what reaches x_hat is not dy, but dy times what stands between x_hat and y.",
            _rms_backward(lambda dy, g, x_hat, inv_rms: (inv_rms * (dy - x_hat * _mean(dy * x_hat)), None)),
        ),
        Mistake(
            "dx lacks the factor in front of the bracket, one over the rms.",
            _rms_backward(lambda dy, g, x_hat, inv_rms: (g - x_hat * _mean(g * x_hat), None)),
        ),
        Mistake(
            "dscale sums dy times x. The scale is multiplied by the normalised row.",
            _rms_backward(
                lambda dy, g, x_hat, inv_rms: (
                    inv_rms * (g - x_hat * _mean(g * x_hat)),
                    (dy * x_hat / inv_rms).sum(axis=(0, 1)),
                )
            ),
        ),
        Mistake(
            "The sum over the rows is missing in dscale: all tokens of all images share the scale.",
            _rms_backward(lambda dy, g, x_hat, inv_rms: (inv_rms * (g - x_hat * _mean(g * x_hat)), dy * x_hat)),
        ),
    ],
)
