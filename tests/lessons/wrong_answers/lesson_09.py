"""Wrong answers to lesson 09, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def branch_only(dy, branch_backward):
    return 1 * branch_backward(dy)


def straight_only(dy, branch_backward):
    return np.array(dy)


def multiplied(dy, branch_backward):
    return np.multiply(branch_backward(dy), dy)


def one_plus(dy, branch_backward):
    return np.ones_like(dy) + branch_backward(dy)


def right_forward(x, block):
    normed, norm_cache1 = block.token_norm.forward(x)
    mixed, mixing_cache1 = block.token_mixing.forward(normed)
    u = x + mixed
    normed, norm_cache2 = block.channel_norm.forward(u)
    mixed, mixing_cache2 = block.channel_mixing.forward(normed)
    return u + mixed, [norm_cache1, mixing_cache1, norm_cache2, mixing_cache2]


def right_backward(dy, cache, block):
    du = dy + block.channel_norm.backward(block.channel_mixing.backward(dy, cache[3]), cache[2])
    return du + block.token_norm.backward(block.token_mixing.backward(du, cache[1]), cache[0])


def forward_replacing(x, block):
    x, cache1 = block.token_norm.forward(x)
    x, cache2 = block.token_mixing.forward(x)
    x, cache3 = block.channel_norm.forward(x)
    x, cache4 = block.channel_mixing.forward(x)
    return x, (cache1, cache2, cache3, cache4)


def forward_keeping_the_normed(x, block):
    x, cache1 = block.token_norm.forward(x)
    mixed, cache2 = block.token_mixing.forward(x)
    x = x + mixed
    x, cache3 = block.channel_norm.forward(x)
    mixed, cache4 = block.channel_mixing.forward(x)
    return x + mixed, (cache1, cache2, cache3, cache4)


def forward_from_x_twice(x, block):
    normed, cache1 = block.token_norm.forward(x)
    mixed, cache2 = block.token_mixing.forward(normed)
    normed, cache3 = block.channel_norm.forward(x)
    mixed_too, cache4 = block.channel_mixing.forward(normed)
    return x + mixed + mixed_too, (cache1, cache2, cache3, cache4)


def backward_without_sums(dy, cache, block):
    dx = block.channel_mixing.backward(dy, cache[3])
    dx = block.channel_norm.backward(dx, cache[2])
    dx = block.token_mixing.backward(dx, cache[1])
    return block.token_norm.backward(dx, cache[0])


def backward_with_dy_everywhere(dy, cache, block):
    dx = dy + block.channel_norm.backward(block.channel_mixing.backward(dy, cache[3]), cache[2])
    return dx + block.token_norm.backward(block.token_mixing.backward(dy, cache[1]), cache[0])


def backward_with_dy_at_the_end(dy, cache, block):
    du = dy + block.channel_norm.backward(block.channel_mixing.backward(dy, cache[3]), cache[2])
    return dy + block.token_norm.backward(block.token_mixing.backward(du, cache[1]), cache[0])


def backward_from_the_front(dy, cache, block):
    du = dy + block.token_norm.backward(block.token_mixing.backward(dy, cache[1]), cache[0])
    return du + block.channel_norm.backward(block.channel_mixing.backward(du, cache[3]), cache[2])


def backward_past_the_norms(dy, cache, block):
    du = dy + block.channel_mixing.backward(dy, cache[3])
    return du + block.token_mixing.backward(du, cache[1])


def copied_to_all(dy, shape):
    return np.stack([dy] * shape[0])


def by_images(dy, shape):
    return np.zeros(shape, dy.dtype) + dy / len(dy)


def not_spread(dy, shape):
    S, _, _ = shape
    return dy / S


def images_first(dy, shape):
    S, B, C = shape
    return np.broadcast_to((dy / S).reshape(B, 1, C), (B, S, C))


def without_last_norm(S, C, DS, DC, L, P, K, in_channels):
    tokens = S * DS + DS + DS * S + S
    channels = C * DC + DC + DC * C + C
    return (P * P * in_channels + 1) * C + L * (tokens + channels + 4 * C) + (C + 1) * K


def without_norms(S, C, DS, DC, L, P, K, in_channels):
    tokens = S * DS + DS + DS * S + S
    channels = C * DC + DC + DC * C + C
    return (P * P * in_channels + 1) * C + L * (tokens + channels) + (C + 1) * K


def without_biases(S, C, DS, DC, L, P, K, in_channels):
    return P**2 * in_channels * C + L * (2 * S * DS + 2 * C * DC + 4 * C) + 2 * C + C * K


def grey_only(S, C, DS, DC, L, P, K, in_channels):
    tokens, channels = 2 * S * DS + DS + S, 2 * C * DC + DC + C
    return P**2 * C + C + L * (tokens + channels + 4 * C) + 2 * C + C * K + K


def one_block(S, C, DS, DC, L, P, K, in_channels):
    tokens, channels = 2 * S * DS + DS + S, 2 * C * DC + DC + C
    return P**2 * in_channels * C + C + tokens + channels + 4 * C + 2 * C + C * K + K


def weights_once(S, C, DS, DC, L, P, K, in_channels):
    return P * P * in_channels * C + L * (2 * S * DS + 2 * C * DC) + C * K


def one_channel(S, C, DS, DC, L, P, K, in_channels):
    return S * P * P * in_channels * C + L * (2 * S * DS + 2 * S * C * DC) + C * K


def one_patch(S, C, DS, DC, L, P, K, in_channels):
    return P * P * in_channels * C + L * 2 * S * C * (DS + DC) + C * K


def operations(S, C, DS, DC, L, P, K, in_channels):
    return 2 * (S * P * P * in_channels * C + L * 2 * S * C * (DS + DC) + C * K)


def one_product_each(S, C, DS, DC, L, P, K, in_channels):
    return S * P * P * in_channels * C + L * S * C * (DS + DC) + C * K


WRONG_ANSWERS = {
    "9.1": [
        (branch_only, "Only the way through the branch"),
        (straight_only, "Only the straight way"),
        (multiplied, "The two ways are multiplied"),
        (one_plus, "counted as 1"),
    ],
    "9.2": [
        ((forward_replacing, backward_without_sums), "Forward lacks the sums"),
        ((forward_keeping_the_normed, right_backward), "the normalised x"),
        ((forward_from_x_twice, right_backward), "Both branches read"),
        ((right_forward, backward_without_sums), "Backward lacks the straight ways"),
        ((right_forward, backward_with_dy_everywhere), "The token branch receives dy"),
        ((right_forward, backward_with_dy_at_the_end), "The last sum takes dy"),
        ((right_forward, backward_from_the_front), "in the order of forward"),
        ((right_forward, backward_past_the_norms), "leaves out the LayerNorms"),
    ],
    "9.3": [
        (copied_to_all, "the whole of dy"),
        (by_images, "the number of images"),
        (not_spread, "the shape of dy"),
        (images_first, "another axis than the first"),
    ],
    "9.4": [
        (without_last_norm, "The last LayerNorm is missing"),
        (without_norms, "The LayerNorms are missing"),
        (without_biases, "The biases of the Linears"),
        (grey_only, "in_channels numbers"),
        (one_block, "There are L blocks"),
    ],
    "9.5": [
        (weights_once, "Every weight is counted once"),
        (one_channel, "for one channel"),
        (one_patch, "The stem is counted for one token"),
        (operations, "counted apart"),
        (one_product_each, "two products"),
    ],
}
