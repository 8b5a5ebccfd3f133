"""Mistakes in the backward passes of the two matrix products."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache, namespace


def _linear_inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    """x (3, 2, 5), square weight (5, 5), so that a swapped transpose keeps the shape, bias (5,)."""
    return generator.normal(size=(3, 2, 5)), generator.normal(size=(5, 5)), generator.normal(size=5)


def _token_linear_inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    """x (4, 3, 4), square weight (4, 4), bias (4,): tokens and channels alike, so that a wrong axis keeps the shape."""
    return generator.normal(size=(4, 3, 4)), generator.normal(size=(4, 4)), generator.normal(size=4)


def _long_inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    """x (37, 2, 8), too large for a whole Jacobian; weight (8, 6), bias (6,)."""
    return generator.normal(size=(37, 2, 8)), generator.normal(size=(8, 6)), generator.normal(size=6)


@fault("linear", _linear_inputs)
def weight_not_transposed_for_dx(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx = dy W instead of dy W^T, which a square W lets through."""
    x, weight = cache
    _, dweight, dbias = ops.linear_backward(dy, cache)
    return (dy.reshape(-1, weight.shape[0]) @ weight).reshape(x.shape), dweight, dbias


@fault("linear", _linear_inputs)
def weight_gradient_transposed(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dW = dy^T x instead of x^T dy, which a square W lets through."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    return dx, dweight.T.copy(), dbias


@fault("linear", _linear_inputs)
def weight_gradient_of_the_first_row_alone(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dW sees the first row of x only; every row passes through W and adds its share."""
    x, weight = cache
    dx, _, dbias = ops.linear_backward(dy, cache)
    inputs, outputs = weight.shape
    return dx, x.reshape(-1, inputs)[:1].T @ dy.reshape(-1, outputs)[:1], dbias


@fault("linear", _linear_inputs)
def bias_gradient_not_summed(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dbias is dy itself: the sum over the rows that the bias was broadcast to is forgotten."""
    dx, dweight, _ = ops.linear_backward(dy, cache)
    return dx, dweight, dy.copy()


@fault("linear", _linear_inputs)
def bias_gradient_averaged(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dbias is the mean over the rows, where it is their sum."""
    xp = namespace(dy)
    dx, dweight, _ = ops.linear_backward(dy, cache)
    return dx, dweight, xp.mean(dy.reshape(-1, dy.shape[-1]), axis=0)


@fault("linear", _linear_inputs)
def bias_gradient_summed_over_channels_too(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """Every channel's bias receives the sum over all channels."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    return dx, dweight, dbias * 0 + dbias.sum()


@fault("linear", _linear_inputs)
def sign_flipped(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx has the wrong sign."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    return -dx, dweight, dbias


@fault("linear", _linear_inputs)
def bias_gradient_not_returned(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """Two gradients come back where three inputs were given."""
    return ops.linear_backward(dy, cache)[:2]


@fault("linear", _linear_inputs)
def last_element_left_out(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """A loop that stops one short: the last element of dW stays 0."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    dweight[-1, -1] = 0
    return dx, dweight, dbias


@fault("linear", _linear_inputs)
def one_corner_slightly_off(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """One element of dW is wrong by one part in ten thousand, all others are right."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    dweight[0, -1] *= 1 + 1e-4
    return dx, dweight, dbias


@fault("linear", _linear_inputs)
def odd_sizes_cut_short(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """Columns are taken in pairs; where their number is odd, the last column of dx stays 0."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    dx[..., dx.shape[-1] // 2 * 2 :] = 0
    return dx, dweight, dbias


@fault("linear", _long_inputs)
def later_tokens_forgotten(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """The backward stops after a block of 32 tokens: dx stays 0 from the 33rd token on."""
    dx, dweight, dbias = ops.linear_backward(dy, cache)
    dx[32:] = 0
    return dx, dweight, dbias


@fault("token_linear", _token_linear_inputs)
def token_weight_not_transposed_for_dx(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dx = W dy instead of W^T dy, which a square W lets through."""
    x, weight = cache
    _, dweight, dbias = ops.token_linear_backward(dy, cache)
    return (weight @ dy.reshape(weight.shape[0], -1)).reshape(x.shape), dweight, dbias


@fault("token_linear", _token_linear_inputs)
def token_bias_summed_over_the_wrong_axes(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dbias sums over tokens and images, where it sums over images and channels: each token has its own bias."""
    dx, dweight, _ = ops.token_linear_backward(dy, cache)
    return dx, dweight, dy.sum(axis=(0, 1))


@fault("token_linear", _token_linear_inputs)
def columns_paired_in_another_order(dy: Array, cache: Cache) -> tuple[Array, ...]:
    """dW pairs the columns (B, C) of dy with columns (C, B) of x: the right shape, the wrong partners."""
    x, _ = cache
    dx, _, dbias = ops.token_linear_backward(dy, cache)
    return dx, dy.reshape(len(dy), -1) @ x.transpose(0, 2, 1).reshape(len(x), -1).T, dbias
