"""Wrong answers to lesson 05, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def axis_not_kept(x, scale, bias, eps=1e-6):
    mean = np.mean(x, -1)
    inv_std = 1 / np.sqrt(np.var(x, -1) + eps)
    x_hat = (x - mean) * inv_std
    return scale * x_hat + bias, (x_hat, inv_std, scale)


def statistics_of_the_batch(x, scale, bias, eps=1e-6):
    mean, std = x.mean(0), np.sqrt(((x - x.mean(0)) ** 2).mean(0) + eps)
    x_hat = (x - mean) / std
    return x_hat * scale + bias, (x_hat, 1 / std, scale)


def eps_after_the_root(x, scale, bias, eps=1e-6):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    inv_std = 1 / (np.std(x, axis=-1, keepdims=True) + eps)
    return scale * (centred * inv_std) + bias, (centred * inv_std, inv_std, scale)


def sample_variance(x, scale, bias, eps=1e-6):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.sum(centred**2, axis=-1, keepdims=True) / (x.shape[-1] - 1)
    inv_std = 1 / np.sqrt(variance + eps)
    return scale * (centred * inv_std) + bias, (centred * inv_std, inv_std, scale)


def root_forgotten(x, scale, bias, eps=1e-6):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    inv_std = 1 / (np.mean(centred**2, axis=-1, keepdims=True) + eps)
    return scale * (centred * inv_std) + bias, (centred * inv_std, inv_std, scale)


def one_axis_summed(dy, x_hat):
    return np.sum(dy * x_hat, 0), np.sum(dy, 0)


def averaged(dy, x_hat):
    rows = dy.shape[0] * dy.shape[1]
    return np.einsum("sbc,sbc->c", dy, x_hat) / rows, np.einsum("sbc->c", dy) / rows


def exchanged(dy, x_hat):
    return np.einsum("sbc->c", dy), np.einsum("sbc,sbc->c", dy, x_hat)


def squared_instead_of_outer(x_hat, inv_std):
    C = x_hat.size
    return (np.identity(C) - 1 / C - x_hat**2 / C) * inv_std


def mean_on_the_diagonal(x_hat, inv_std):
    C = x_hat.size
    identity = np.identity(C)
    return (identity - identity / C - x_hat[:, None] * x_hat[None, :] / C) * inv_std


def bracket_alone(x_hat, inv_std):
    C = x_hat.size
    return np.identity(C) - np.ones((C, C)) / C - x_hat[:, None] @ x_hat[None, :] / C


def _parameter_gradients(dy, x_hat):
    return np.sum(dy * x_hat, axis=(0, 1)), np.sum(dy, axis=(0, 1))


def variance_forgotten(dy, cache):
    x_hat, inv_std, scale = cache
    g = scale * dy
    return inv_std * (g - np.mean(g, -1, keepdims=True)), *_parameter_gradients(dy, x_hat)


def dy_taken_for_g(dy, cache):
    x_hat, inv_std, _ = cache
    third = x_hat * np.mean(dy * x_hat, -1, keepdims=True)
    return inv_std * (dy - np.mean(dy, -1, keepdims=True) - third), *_parameter_gradients(dy, x_hat)


def means_without_their_axis(dy, cache):
    x_hat, inv_std, scale = cache
    g = scale * dy
    return inv_std * (g - np.mean(g, -1) - x_hat * np.mean(g * x_hat, -1)), *_parameter_gradients(dy, x_hat)


def x_hat_forgotten_in_dscale(dy, cache):
    x_hat, inv_std, scale = cache
    g = scale * dy
    third = x_hat * np.mean(g * x_hat, -1, keepdims=True)
    dx = inv_std * (g - np.mean(g, -1, keepdims=True) - third)
    return dx, dy.sum((0, 1)), dy.sum((0, 1))


def rms_forward(x, scale, eps=1e-6):
    rms = np.sqrt(np.mean(x**2, -1, keepdims=True) + eps)
    return x / rms * scale, (x, rms, scale)


def rms_backward_with_a_mean(dy, cache):
    x, rms, scale = cache
    g, x_hat = dy * scale, x / rms
    third = x_hat * np.mean(g * x_hat, -1, keepdims=True)
    return (g - np.mean(g, -1, keepdims=True) - third) / rms, np.sum(dy * x_hat, (0, 1))


def rms_backward_direct_only(dy, cache):
    x, rms, scale = cache
    return dy * scale / rms, np.sum(dy * x / rms, (0, 1))


def rms_forward_centred(x, scale, eps=1e-6):
    x = x - np.mean(x, -1, keepdims=True)
    return rms_forward(x, scale, eps)


def rms_backward_with_x(dy, cache):
    x, rms, scale = cache
    g, x_hat = dy * scale, x / rms
    return (g - x_hat * np.mean(g * x_hat, -1, keepdims=True)) / rms, np.sum(dy * x, (0, 1))


WRONG_ANSWERS = {
    "5.1": [
        (axis_not_kept, "has lost its axis"),
        (statistics_of_the_batch, "run over axis 0"),
        (eps_after_the_root, "eps is added outside the root"),
        (sample_variance, "divided by C - 1"),
        (root_forgotten, "divided by its variance"),
    ],
    "5.2": [
        (one_axis_summed, "over one axis only"),
        (averaged, "This is the mean over the rows"),
        (exchanged, "Are the two exchanged?"),
    ],
    "5.3": [
        (squared_instead_of_outer, "element by element"),
        (mean_on_the_diagonal, "on the diagonal only"),
        (bracket_alone, "in front of the bracket is missing"),
    ],
    "5.4": [
        (variance_forgotten, "The third term is missing"),
        (dy_taken_for_g, "The scale is forgotten in dx"),
        (means_without_their_axis, "have lost their axis"),
        (x_hat_forgotten_in_dscale, "dscale is the sum of dy alone"),
    ],
    "5.5": [
        ((rms_forward, rms_backward_with_a_mean), "LayerNorm's second term"),
        ((rms_forward, rms_backward_direct_only), "the direct way only"),
        ((rms_forward_centred, rms_backward_with_x), "subtracts the mean"),
        ((rms_forward, rms_backward_with_x), "dscale sums dy times x"),
    ],
}
