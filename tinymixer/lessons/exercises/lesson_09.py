"""Exercises of lesson 09: the residual connection, the block, the mean over tokens (its counts: lesson_09_counting)."""

import math

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import tokens
from tinymixer.layers import BlockSizes, MixerBlock
from tinymixer.lessons.exercise import Mistake, exercise


def _branch(matrix, slope):
    """The backward pass of some branch: a product from the right and a factor for each place."""

    def branch_backward(dy):
        return slope * (dy @ matrix.T)

    return branch_backward


def _residual_inputs(generator):
    """dy (S, B, C) and the backward pass of a branch."""
    for shape in ((3, 2, 4), (3, 3, 3), (1, 1, 5)):
        channels = shape[-1]
        matrix, slope = generator.normal(size=(channels, channels)), generator.normal(size=shape)
        yield generator.normal(size=shape), _branch(matrix, slope)


exercise(
    "9.1",
    "The residual connection, backward",
    "my_residual_backward",
    reference=lambda dy, branch_backward: dy + branch_backward(dy),
    cases=_residual_inputs,
    returns="dx",
    mistakes=[
        Mistake(
            "Only the way through the branch is here. x is also a part of y itself, and that way counts too.",
            lambda dy, branch_backward: branch_backward(dy),
        ),
        Mistake(
            "Only the straight way is here. x also reaches y through the branch.",
            lambda dy, branch_backward: dy.copy(),
        ),
        Mistake(
            "The two ways are multiplied. They lead to the loss side by side, not one after the other: they add up.",
            lambda dy, branch_backward: dy * branch_backward(dy),
        ),
        Mistake(
            "The straight way is counted as 1. The factor of x in y is 1, but it multiplies dy.",
            lambda dy, branch_backward: 1 + branch_backward(dy),
        ),
        Mistake(
            "This is the mean of the two ways. The ways add up.",
            lambda dy, branch_backward: (dy + branch_backward(dy)) / 2,
        ),
    ],
)


class _Block(MixerBlock):
    """A block with random parameters, biases and scales too, that says its sizes in a few words."""

    def __init__(self, generator, tokens_across, channels):
        sizes = BlockSizes((tokens_across, tokens_across), channels, tokens_mlp_dim=5, channels_mlp_dim=6)
        super().__init__(sizes, dtype="float64")
        for name in self.parameters:
            self.parameters[name][...] = generator.normal(size=self.parameters.shape(name))
        self.sizes = f"MixerBlock with S={sizes.num_tokens}, C={channels}"

    def __repr__(self):
        return self.sizes


def _block_inputs(generator):
    """dy and x (S, B, C), and a block."""
    for tokens_across, images, channels in ((2, 2, 3), (2, 4, 4), (1, 1, 3)):
        shape = (tokens_across**2, images, channels)
        yield generator.normal(size=shape), generator.normal(size=shape), _Block(generator, tokens_across, channels)


def _run_block(forward, backward, dy, x, block):
    """Forward, backward, and the gradients that the layers added."""
    block.parameters.zero_gradients()
    y, cache = forward(x, block)
    dx = backward(dy, cache, block)
    return y, dx, block.parameters.gradients.copy()


def _block_forward(x, block):
    return block.forward(x)


def _block_backward(dy, cache, block):
    return block.backward(dy, cache)


def _mixed(x, norm, mixing):
    """A branch forward: norm, then mixing."""
    return mixing.forward(norm.forward(x)[0])[0]


def _branch_back(dy, norm, mixing, cache):
    """A branch backward, with the caches as MixerBlock keeps them."""
    return norm.backward(mixing.backward(dy, cache[1]), cache[0])


def _no_sums(x, block):
    u = _mixed(x, block.token_norm, block.token_mixing)
    return _mixed(u, block.channel_norm, block.channel_mixing), None


def _no_norms(x, block):
    u = x + block.token_mixing.forward(x)[0]
    return u + block.channel_mixing.forward(u)[0], None


def _norms_on_the_highway(x, block):
    x = block.token_norm.forward(x)[0]
    u = block.channel_norm.forward(x + block.token_mixing.forward(x)[0])[0]
    return u + block.channel_mixing.forward(u)[0], None


def _side_by_side(x, block):
    """Both branches read x."""
    token = _mixed(x, block.token_norm, block.token_mixing)
    return x + token + _mixed(x, block.channel_norm, block.channel_mixing), None


def _channels_first(x, block):
    u = x + _mixed(x, block.channel_norm, block.channel_mixing)
    return u + _mixed(u, block.token_norm, block.token_mixing), None


def _second_sum_from_x(x, block):
    u = x + _mixed(x, block.token_norm, block.token_mixing)
    return x + _mixed(u, block.channel_norm, block.channel_mixing), None


def _mixing_before_norm(x, block):
    u = x + block.token_norm.forward(block.token_mixing.forward(x)[0])[0]
    return u + block.channel_norm.forward(block.channel_mixing.forward(u)[0])[0], None


def _anything(dy, cache, block):
    return dy


def _back_without_sums(dy, cache, block):
    token_cache, channel_cache = cache
    du = _branch_back(dy, block.channel_norm, block.channel_mixing, channel_cache)
    return _branch_back(du, block.token_norm, block.token_mixing, token_cache)


def _back_from_dy_twice(dy, cache, block):
    """The token branch receives dy in place of du."""
    token_cache, channel_cache = cache
    du = dy + _branch_back(dy, block.channel_norm, block.channel_mixing, channel_cache)
    return du + _branch_back(dy, block.token_norm, block.token_mixing, token_cache)


def _back_without_the_second_sum(dy, cache, block):
    """du is right, and the last sum takes dy where du belongs."""
    token_cache, channel_cache = cache
    du = dy + _branch_back(dy, block.channel_norm, block.channel_mixing, channel_cache)
    return dy + _branch_back(du, block.token_norm, block.token_mixing, token_cache)


def _back_in_the_same_order(dy, cache, block):
    token_cache, channel_cache = cache
    du = dy + _branch_back(dy, block.token_norm, block.token_mixing, token_cache)
    return du + _branch_back(du, block.channel_norm, block.channel_mixing, channel_cache)


def _back_without_norms(dy, cache, block):
    token_cache, channel_cache = cache
    du = dy + block.channel_mixing.backward(dy, channel_cache[1])
    return du + block.token_mixing.backward(du, token_cache[1])


exercise(
    "9.2",
    "The block, forward and backward",
    ("my_block_forward", "my_block_backward"),
    reference=(_block_forward, _block_backward),
    cases=_block_inputs,
    returns=("y", "dx", "parameter gradients"),
    call=_run_block,
    mistakes=[
        Mistake(
            "Forward lacks the sums: a branch's output is added to what went into the branch. It does not replace it.",
            (_no_sums, _anything),
        ),
        Mistake("Forward lacks the LayerNorms: each branch begins with one.", (_no_norms, _anything)),
        Mistake(
            "What is added to the branch's output is the normalised x. LayerNorm is only inside the branch. The "
            "sum takes x as it is.",
            (_norms_on_the_highway, _anything),
        ),
        Mistake(
            "Both branches read the block's input x. The channel branch comes second: it reads the sum that the token "
            "branch made.",
            (_side_by_side, _anything),
        ),
        Mistake(
            "The second sum starts from the block's input x. It should start from u, which has the token branch in it.",
            (_second_sum_from_x, _anything),
        ),
        Mistake("Channel mixing comes first here. The block mixes tokens first.", (_channels_first, _anything)),
        Mistake(
            "In the branches the mixing comes before its LayerNorm. It is the other way round.",
            (_mixing_before_norm, _anything),
        ),
        Mistake(
            "Backward lacks the straight ways. Each of the two sums hands its gradient on unchanged, and the gradient "
            "through its branch is added to that.",
            (_block_forward, _back_without_sums),
        ),
        Mistake(
            "The token branch receives dy. By then the gradient has grown: between the two branches it is du, the sum "
            "of both ways of the second.",
            (_block_forward, _back_from_dy_twice),
        ),
        Mistake(
            "The last sum uses dy. It needs the gradient between the two branches.",
            (_block_forward, _back_without_the_second_sum),
        ),
        Mistake(
            "Backward goes through the branches in the order of forward. The last branch of forward must come first.",
            (_block_forward, _back_in_the_same_order),
        ),
        Mistake(
            "Backward leaves out the LayerNorms. What comes back from a mixing is the gradient after its norm.",
            (_block_forward, _back_without_norms),
        ),
    ],
)


def _mean_inputs(generator):
    """dy (B, C) and the shape (S, B, C): all different, all alike, one token, and float32."""
    for shape in ((5, 3, 4), (3, 3, 3), (1, 2, 3)):
        yield generator.normal(size=shape[1:]), shape
    yield generator.normal(size=(2, 4)).astype(np.float32), (3, 2, 4)


exercise(
    "9.3",
    "The mean over tokens, backward",
    "my_mean_over_tokens_backward",
    reference=lambda dy, shape: ops.mean_over_tokens_backward(dy, shape),
    cases=_mean_inputs,
    returns="dx",
    mistakes=[
        Mistake(
            "Every token receives the whole of dy. In the mean each token only counts for a part.",
            tokens.mean_not_divided,
        ),
        Mistake(
            "This divides by the number of images. The mean was taken over the tokens, the first number of shape.",
            tokens.divided_by_the_batch,
        ),
        Mistake(
            "The result has the shape of dy. Every one of the S tokens gets a gradient of its own.",
            lambda dy, shape: dy / shape[0],
        ),
        Mistake(
            "The gradient still has to be divided among the tokens. This is dy itself, in its own shape.",
            lambda dy, shape: dy,
        ),
        Mistake(
            "The tokens are not on the first axis: (S, B, C) is asked for.",
            lambda dy, shape: np.repeat(dy[:, None] / shape[0], shape[0], axis=1),
        ),
        Mistake(
            "This divides by the number of channels. The mean was taken over the tokens, the first number of shape.",
            lambda dy, shape: np.broadcast_to(dy / shape[2], shape),
        ),
        Mistake(
            "This divides by the number of all elements. The mean was taken over the tokens alone.",
            lambda dy, shape: np.broadcast_to(dy / math.prod(shape), shape),
        ),
        Mistake(
            "One token receives everything. The mean depends on all tokens alike.",
            lambda dy, shape: np.concatenate([dy[None], np.zeros((shape[0] - 1, *dy.shape), dy.dtype)]),
        ),
    ],
)
