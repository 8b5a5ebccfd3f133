"""Exercises of lesson 09: the residual connection, the block, the mean over tokens, parameters and work of a Mixer."""

import math

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import tokens
from tinymixer.layers import BlockSizes, MixerBlock
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.models.summary import layer_rows


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


def _config(S, C, DS, DC, L, P, K, in_channels):
    return MixerConfig(
        image_size=P * math.isqrt(S),
        in_channels=in_channels,
        patch_size=P,
        hidden_dim=C,
        tokens_mlp_dim=DS,
        channels_mlp_dim=DC,
        num_blocks=L,
        num_classes=K,
    )


def _sizes(generator):
    """S, C, DS, DC, L, P, K, in_channels: all different, nano, one block, the digits."""
    return (
        (9, 5, 7, 11, 3, 2, 4, 1),
        (64, 128, 64, 512, 8, 4, 10, 3),
        (4, 3, 5, 6, 1, 1, 2, 3),
        (16, 48, 24, 96, 3, 2, 10, 1),
    )


def _parameter_count(S, C, DS, DC, L, P, K, in_channels):
    return MlpMixer(_config(S, C, DS, DC, L, P, K, in_channels)).parameters.count


def _counted(biases=1, per_norm=2, norms=2, last_norm=1, colours=True, stems=None, blocks=None, shared=True):
    """The formula with something left out."""

    def count(S, C, DS, DC, L, P, K, in_channels):
        token = (2 * S * DS + biases * (DS + S)) * (1 if shared else C)
        channel = 2 * C * DC + biases * (DC + C)
        block = token + channel + norms * per_norm * C
        stem = P * P * (in_channels if colours else 1) * C + biases * C
        head = C * K + biases * K
        return stem * (S if stems else 1) + (blocks or L) * block + last_norm * per_norm * C + head

    return count


exercise(
    "9.4",
    "Parameters of a Mixer",
    "my_parameter_count",
    reference=_parameter_count,
    cases=_sizes,
    returns="count",
    mistakes=[
        Mistake(
            "The last LayerNorm is missing, pre_head_layer_norm, after the blocks.",
            _counted(last_norm=0),
        ),
        Mistake("The LayerNorms are missing: two in each block and one after them.", _counted(norms=0, last_norm=0)),
        Mistake("The LayerNorms in the blocks are missing: there are two in each.", _counted(norms=0)),
        Mistake("Each block has two LayerNorms, one before each mixing.", _counted(norms=1)),
        Mistake("A LayerNorm has a scale and a bias for each channel.", _counted(per_norm=1)),
        Mistake("The biases of the Linears are missing, one per output.", _counted(biases=0)),
        Mistake(
            "A pixel has in_channels numbers: a patch vector is P*P*in_channels long.",
            _counted(colours=False),
        ),
        Mistake("There are L blocks, and each has parameters of its own.", _counted(blocks=1)),
        Mistake("All tokens share one stem: it counts once.", _counted(stems=True)),
        Mistake("All channels share the token-mixing weights: they count once.", _counted(shared=False)),
    ],
)


def _multiply_adds(S, C, DS, DC, L, P, K, in_channels):
    """Counted while one image passes through a model."""
    model = MlpMixer(_config(S, C, DS, DC, L, P, K, in_channels), seed=None)
    return sum(row.multiply_adds for row in layer_rows(model))


def _work(token=None, channel=None, stem=None, head=None, blocks=None, factor=1):
    """The formula, with the uses of some part's weights replaced by a function of (S, C)."""

    def work(S, C, DS, DC, L, P, K, in_channels):
        def uses(wrong, right):
            return wrong(S, C) if wrong else right

        total = uses(stem, S) * P * P * in_channels * C + uses(head, 1) * C * K
        each = uses(token, C) * 2 * S * DS + uses(channel, S) * 2 * C * DC
        return factor * (total + (blocks or L) * each)

    return work


def _once(S, C):
    return 1


exercise(
    "9.5",
    "Multiply-adds of a Mixer",
    "my_multiply_adds",
    reference=_multiply_adds,
    cases=_sizes,
    returns="count",
    mistakes=[
        Mistake(
            "Every weight is counted once. Products over a table use their weights again and again: channel mixing and "
            "the stem for each token, token mixing for each channel.",
            _work(token=_once, channel=_once, stem=_once),
        ),
        Mistake(
            "Token mixing is counted for one channel. Its product is (DS, S) times (S, C): all C columns.",
            _work(token=_once),
        ),
        Mistake(
            "Token mixing is counted once for each token. Its weights are used once for each channel.",
            _work(token=lambda S, C: S),
        ),
        Mistake(
            "Channel mixing is counted for one token. Its product is (S, C) times (C, DC): all S rows.",
            _work(channel=_once),
        ),
        Mistake("The stem is counted for one token. All S patches pass through it.", _work(stem=_once)),
        Mistake("The head comes after the mean over tokens: it sees one row.", _work(head=lambda S, C: S)),
        Mistake(
            "Multiplications and additions are counted apart here. A multiply-add is one of each together.",
            _work(factor=2),
        ),
        Mistake("There are L blocks, and each does its own work.", _work(blocks=1)),
        Mistake(
            "Each mixing has two products, one into the hidden layer and one back.",
            lambda S, C, DS, DC, L, P, K, in_channels: (
                S * P * P * in_channels * C + C * K + L * (S * DS * C + S * C * DC)
            ),
        ),
    ],
)
