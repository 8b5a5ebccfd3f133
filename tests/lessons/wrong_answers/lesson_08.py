"""Wrong answers to lesson 08, as a learner would write them, and words of the hint that each must get."""

import numpy as np

from tinymixer import ops


def never_turned(x, weight, bias):
    y, _ = ops.linear_forward(x, weight, bias)
    return y


def never_turned_by_hand(x, weight, bias):
    return np.matmul(x, weight) + bias


def not_turned_back(x, weight, bias):
    y, _ = ops.linear_forward(np.swapaxes(x, 1, 2), weight, bias)
    return y


def reshaped(x, weight, bias):
    B, S, C = x.shape
    y, _ = ops.linear_forward(x.reshape(B, C, S), weight, bias)
    return y.transpose(0, 2, 1)


def reshaped_back(x, weight, bias):
    B, _, C = x.shape
    y, _ = ops.linear_forward(x.transpose(0, 2, 1), weight, bias)
    return y.reshape(B, weight.shape[1], C)


def all_axes_turned(x, weight, bias):
    y, _ = ops.linear_forward(x.T, weight, bias)
    return y.T


def dx_left_turned(dy, cache):
    x, weight = cache
    dx, dweight, dbias = ops.linear_backward(dy.swapaxes(1, 2), (x.swapaxes(1, 2), weight))
    return dx, dweight, dbias


def dy_as_it_is(dy, cache):
    x, weight = cache
    dx, dweight, dbias = ops.linear_backward(dy, (x.transpose(0, 2, 1), weight))
    return dx.transpose(0, 2, 1), dweight, dbias


def cache_as_it_is(dy, cache):
    dx, dweight, dbias = ops.linear_backward(dy.transpose(0, 2, 1), cache)
    return dx.transpose(0, 2, 1), dweight, dbias


def one_dweight_per_image(dy, cache):
    x, weight = cache
    dx = np.einsum("noc,so->nsc", dy, weight)
    return dx, np.einsum("nsc,noc->nso", x, dy), dy.sum((0, 2))


def dweight_lies_the_other_way(dy, cache):
    x, weight = cache
    dx = np.einsum("noc,so->nsc", dy, weight)
    return dx, np.einsum("nsc,noc->os", x, dy), dy.sum((0, 2))


def bias_of_channels(dy, cache):
    x, weight = cache
    dx = np.einsum("noc,so->nsc", dy, weight)
    return dx, np.einsum("nsc,noc->so", x, dy), np.sum(dy, axis=(0, 1))


def bias_per_channel(dy, cache):
    x, weight = cache
    dx = np.einsum("noc,so->nsc", dy, weight)
    return dx, np.einsum("nsc,noc->so", x, dy), np.sum(dy, axis=0)


def left_weight_not_turned(dy, cache):
    x, weight = cache
    columns, dy_columns = x.reshape(x.shape[0], -1), dy.reshape(dy.shape[0], -1)
    dx = weight @ dy_columns
    return dx.reshape(x.shape), dy_columns @ columns.T, dy_columns.sum(axis=1)


def still_from_the_right(dy, cache):
    _, weight = cache
    return np.matmul(dy, weight.T), None, None


def dx_as_a_matrix(dy, cache):
    x, weight = cache
    columns, dy_columns = x.reshape(x.shape[0], -1), dy.reshape(dy.shape[0], -1)
    return np.dot(weight.T, dy_columns), dy_columns @ columns.T, dy_columns.sum(axis=1)


def x_times_dy(dy, cache):
    x, weight = cache
    columns, dy_columns = x.reshape(x.shape[0], -1), dy.reshape(dy.shape[0], -1)
    return (weight.T @ dy_columns).reshape(x.shape), columns @ dy_columns.T, dy_columns.sum(axis=1)


def bias_of_columns(dy, cache):
    x, weight = cache
    columns, dy_columns = x.reshape(x.shape[0], -1), dy.reshape(dy.shape[0], -1)
    return (weight.T @ dy_columns).reshape(x.shape), dy_columns @ columns.T, np.sum(dy_columns, 0)


def bias_of_last_axis(dy, cache):
    x, weight = cache
    columns, dy_columns = x.reshape(x.shape[0], -1), dy.reshape(dy.shape[0], -1)
    return (weight.T @ dy_columns).reshape(x.shape), dy_columns @ columns.T, dy.sum(axis=-1)


def weight_as_it_is(x, weight, bias):
    y, _ = ops.token_linear_forward(x.swapaxes(0, 1), weight, bias)
    return y.swapaxes(0, 1)


def images_first(x, weight, bias):
    y, _ = ops.token_linear_forward(x, np.transpose(weight), bias)
    return y


def left_tokens_first(x, weight, bias):
    y, _ = ops.token_linear_forward(x.swapaxes(0, 1), weight.T, bias)
    return y


def reshaped_to_tokens_first(x, weight, bias):
    B, S, C = x.shape
    y, _ = ops.token_linear_forward(x.reshape(S, B, C), weight.T, bias)
    return np.transpose(y, (1, 0, 2))


def no_bend(x, weight1, bias1, weight2, bias2):
    hidden, _ = ops.token_linear_forward(x, weight1, bias1)
    return ops.token_linear_forward(hidden, weight2, bias2)[0]


def channels_mixed(x, weight1, bias1, weight2, bias2):
    hidden, _ = ops.linear_forward(x, weight1, bias1)
    hidden, _ = ops.gelu_tanh_forward(hidden)
    return ops.linear_forward(hidden, weight2, bias2)[0]


def other_gelu(x, weight1, bias1, weight2, bias2):
    hidden, _ = ops.token_linear_forward(x, weight1, bias1)
    hidden, _ = ops.gelu_erf_forward(hidden)
    y, _ = ops.token_linear_forward(hidden, weight2, bias2)
    return y


def stopped_in_the_middle(x, weight1, bias1, weight2, bias2):
    hidden, _ = ops.token_linear_forward(x, weight1, bias1)
    return ops.gelu_tanh_forward(hidden)[0]


def weights_only(S, C, DS, DC):
    return S * DS + DS * S, C * DC + DC * C


def first_bias_only(S, C, DS, DC):
    return DS * (2 * S + 1), DC * (2 * C + 1)


def one_linear(S, C, DS, DC):
    return DS * (S + 1), DC * (C + 1)


def per_channel(S, C, DS, DC):
    return C * (S * DS + DS + DS * S + S), C * DC + DC + DC * C + C


WRONG_ANSWERS = {
    "8.1": [
        (never_turned, "The axes are not exchanged"),
        (never_turned_by_hand, "The axes are not exchanged"),
        (not_turned_back, "The result is not turned back"),
        (reshaped, "A reshape stands where a transposition belongs"),
        (reshaped_back, "On the way back a reshape"),
        (all_axes_turned, "exchanges all three axes"),
    ],
    "8.2": [
        (dx_left_turned, "dx is not turned back"),
        (dy_as_it_is, "dy enters the Linear as it is"),
        (cache_as_it_is, "The Linear saw it turned"),
        (one_dweight_per_image, "an entry per image"),
        (dweight_lies_the_other_way, "dweight is transposed"),
        (bias_of_channels, "sums over images and tokens"),
        (bias_per_channel, "over the images alone"),
    ],
    "8.3": [
        (left_weight_not_turned, "its transpose belongs"),
        (still_from_the_right, "The weight stands on the right"),
        (dx_as_a_matrix, "Give it the shape of x"),
        (x_times_dy, "dweight is transposed"),
        (bias_of_columns, "dbias sums over the rows"),
        (bias_of_last_axis, "over one axis only"),
    ],
    "8.4": [
        (weight_as_it_is, "The weight is not turned"),
        (images_first, "x goes in with its images first"),
        (left_tokens_first, "The result is not turned back"),
        (reshaped_to_tokens_first, "A reshape stands where"),
    ],
    "8.5": [
        (no_bend, "The GELU between the two products is missing"),
        (channels_mixed, "products from the right"),
        (other_gelu, "GELU's erf form"),
        (stopped_in_the_middle, "The second product"),
    ],
    "8.6": [
        (weights_only, "The biases are missing"),
        (first_bias_only, "biases of the second Linear"),
        (one_linear, "the first Linear alone"),
        (per_channel, "once per channel"),
    ],
}
