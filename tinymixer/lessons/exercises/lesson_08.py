"""Exercises of lesson 08: token mixing, as a transposed Linear and as a product from the left."""

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import linear
from tinymixer.layers import ChannelMixing, TokenMixing
from tinymixer.lessons.exercise import Mistake, exercise

# (images, tokens in, channels, tokens out): all different, all alike, one image, and as many channels as tokens
SIZES = ((2, 4, 3, 5), (3, 3, 3, 3), (1, 4, 2, 3), (2, 4, 4, 4))


def _forward_inputs(generator):
    """x (B, S, C), weight (S, O), bias (O,)."""
    for images, tokens, channels, outputs in SIZES:
        yield (
            generator.normal(size=(images, tokens, channels)),
            generator.normal(size=(tokens, outputs)),
            generator.normal(size=outputs),
        )


def _backward_inputs(generator):
    """dy (B, O, C) and the cache (x, weight)."""
    for x, weight, _ in _forward_inputs(generator):
        yield generator.normal(size=(len(x), weight.shape[1], x.shape[2])), (x, weight)


def _token_linear_inputs(generator):
    """dy (DS, B, C) and the cache (x, weight), x (S, B, C), weight (DS, S)."""
    for images, tokens, channels, outputs in SIZES:
        x = generator.normal(size=(tokens, images, channels))
        yield generator.normal(size=(outputs, images, channels)), (x, generator.normal(size=(outputs, tokens)))


def _mlp_inputs(generator):
    """x (S, B, C) and weight1 (DS, S), bias1, weight2 (S, DS), bias2."""
    for images, tokens, channels, hidden in SIZES:
        yield (
            generator.normal(size=(tokens, images, channels)),
            generator.normal(size=(hidden, tokens)),
            generator.normal(size=hidden),
            generator.normal(size=(tokens, hidden)),
            generator.normal(size=tokens),
        )


def _turned(x):
    return x.transpose(0, 2, 1)


def _forward(x, weight, bias):
    """The package has this mixing in token-major layout only; so the two forms are held equal here."""
    y, _ = ops.token_linear_forward(x.transpose(1, 0, 2), weight.T, bias)  # (O, B, C)
    return y.transpose(1, 0, 2)


def _backward(dy, cache):
    x, weight = cache
    dx, dweight, dbias = ops.token_linear_backward(dy.transpose(1, 0, 2), (x.transpose(1, 0, 2), weight.T))
    return dx.transpose(1, 0, 2), dweight.T, dbias


def _dx_turned(gradients):
    return _turned(gradients[0]), *gradients[1:]


def _around(linear_backward):
    """A backward pass of Linear, right or wrong, between the two transpositions."""

    def backward(dy, cache):
        return _dx_turned(linear_backward(_turned(dy), (_turned(cache[0]), cache[1])))

    return backward


def _with(backward, dx=None, dweight=None, dbias=None):
    """The right gradients, some of them replaced by a function of (dy, x, weight)."""

    def replaced(dy, cache):
        given = (dx, dweight, dbias)
        return tuple(
            right if wrong is None else wrong(dy, *cache)
            for right, wrong in zip(backward(dy, cache), given, strict=True)
        )

    return replaced


exercise(
    "8.1",
    "Token mixing, transposed",
    "my_token_mixing_forward",
    reference=_forward,
    cases=_forward_inputs,
    returns="y",
    mistakes=[
        Mistake(
            "The axes are not swapped: the product works along the last axis, the channels. Bring the tokens there "
            "first.",
            lambda x, weight, bias: ops.linear_forward(x, weight, bias)[0],
        ),
        Mistake(
            "The result is not turned back: it is (B, C, O), and (B, O, C) is asked for.",
            lambda x, weight, bias: _turned(x) @ weight + bias,
        ),
        Mistake(
            "A reshape stands where a transposition belongs. It keeps the numbers in their old order, so a row of the "
            "result has a bit of this channel and a bit of that one.",
            lambda x, weight, bias: _turned(x.reshape(len(x), x.shape[2], -1) @ weight + bias),
        ),
        Mistake(
            "On the way back a reshape stands where a transposition belongs: the right numbers, in the wrong places.",
            lambda x, weight, bias: (_turned(x) @ weight + bias).reshape(len(x), -1, x.shape[2]),
        ),
        Mistake(
            ".T reverses all three axes, images and channels too. Swap axes 1 and 2 alone.",
            lambda x, weight, bias: ops.linear_forward(x.T, weight, bias)[0].T,
        ),
        Mistake("The bias is missing.", lambda x, weight, bias: _turned(_turned(x) @ weight)),
        Mistake(
            "The bias is added along the channels. There is one bias per token that comes out: add it while the tokens "
            "are the last axis.",
            lambda x, weight, bias: _turned(_turned(x) @ weight) + bias,
        ),
    ],
)

exercise(
    "8.2",
    "Token mixing, transposed, backward",
    "my_token_mixing_backward",
    reference=_backward,
    cases=_backward_inputs,
    returns=("dx", "dweight", "dbias"),
    mistakes=[
        Mistake(
            "dx is not turned back: it has the shape (B, C, S) of what the Linear saw, and x is (B, S, C).",
            lambda dy, cache: ops.linear_backward(_turned(dy), (_turned(cache[0]), cache[1])),
        ),
        Mistake(
            "dy enters the Linear as it is. Forward ended with a transposition, so backward must begin by undoing it.",
            lambda dy, cache: _dx_turned(ops.linear_backward(dy, (_turned(cache[0]), cache[1]))),
        ),
        Mistake(
            "A reshape stands where a transposition of dy belongs: the right shape, the numbers in the wrong places.",
            lambda dy, cache: (_turned(dy.reshape(len(dy), dy.shape[2], -1) @ cache[1].T), None, None),
        ),
        Mistake(
            "The cache holds x as it came in, (B, S, C). The Linear saw it transposed, and its gradient needs what "
            "it saw.",
            lambda dy, cache: _dx_turned(ops.linear_backward(_turned(dy), cache)),
        ),
        Mistake(
            "dweight is made from x as it came in, (B, S, C). The Linear saw it transposed.",
            _with(
                _backward, dweight=lambda dy, x, weight: x.reshape(-1, len(weight)).T @ dy.reshape(-1, weight.shape[1])
            ),
        ),
        Mistake(
            "dx uses weight where its transpose belongs: on the way back, the axis O turns into S again.",
            _around(linear.weight_not_transposed_for_dx),
        ),
        Mistake(
            "dweight has an entry per image. All images share the weight: sum over them too.",
            _with(_backward, dweight=lambda dy, x, weight: x @ _turned(dy)),
        ),
        Mistake(
            "dweight is transposed. It has the shape of weight, (S, O).",
            _with(_backward, dweight=lambda dy, x, weight: _backward(dy, (x, weight))[1].T),
        ),
        Mistake(
            "dbias sums over images and tokens. There is a bias per token that came out: sum over images and channels.",
            _with(_backward, dbias=lambda dy, x, weight: dy.sum(axis=(0, 1))),
        ),
        Mistake(
            "dbias sums over the images alone. All channels share the bias too.",
            _with(_backward, dbias=lambda dy, x, weight: dy.sum(axis=0)),
        ),
        Mistake(
            "dbias sums over the channels alone. All images share the bias too.",
            _with(_backward, dbias=lambda dy, x, weight: dy.sum(axis=2)),
        ),
    ],
)

exercise(
    "8.3",
    "The product from the left, backward",
    "my_token_linear_backward",
    reference=ops.token_linear_backward,
    cases=_token_linear_inputs,
    returns=("dx", "dweight", "dbias"),
    mistakes=[
        Mistake(
            "dx uses weight where its transpose belongs. In its sum the index d is the first of weight and the first "
            "of dy; a product sums over the last index of its left factor.",
            linear.token_weight_not_transposed_for_dx,
        ),
        Mistake(
            "dx uses weight where its transpose belongs, so the inner sizes do not fit: dy has DS rows, and so has "
            "weight.",
            lambda dy, cache: (cache[1] @ dy.reshape(len(dy), -1), None, None),
        ),
        Mistake(
            "The weight is on the right, as in lesson 02. Here the tokens are the first axis, so the weight multiplies "
            "from the left.",
            lambda dy, cache: (dy @ cache[1].T, None, None),
        ),
        Mistake(
            "dx is still a matrix of B*C columns. Give it the shape of x.",
            lambda dy, cache: (cache[1].T @ dy.reshape(len(dy), -1), None, None),
        ),
        Mistake(
            "dweight is transposed: rows belong to dy (tokens out), columns to x (tokens in).",
            _with(
                ops.token_linear_backward,
                dweight=lambda dy, x, weight: ops.token_linear_backward(dy, (x, weight))[1].T,
            ),
        ),
        Mistake(
            "dweight pairs the columns of dy with other columns of x. Both must be numbered in the same order, (B, C).",
            linear.columns_paired_in_another_order,
        ),
        Mistake(
            "dweight has an entry per image. All images share the weight: sum over them too.",
            _with(
                ops.token_linear_backward,
                dweight=lambda dy, x, weight: dy.transpose(1, 0, 2) @ x.transpose(1, 2, 0),
            ),
        ),
        Mistake(
            "dbias sums over tokens and images. There is a bias per token: sum over images and channels, all columns "
            "of its row.",
            linear.token_bias_summed_over_the_wrong_axes,
        ),
        Mistake(
            "dbias sums over the rows. There is a bias per row (token): sum along it, over all columns.",
            _with(ops.token_linear_backward, dbias=lambda dy, x, weight: dy.reshape(len(dy), -1).sum(axis=0)),
        ),
        Mistake(
            "dbias sums over one axis only. All images and all channels share it.",
            _with(ops.token_linear_backward, dbias=lambda dy, x, weight: dy.sum(axis=1)),
        ),
        Mistake(
            "dbias sums over one axis only. All images and all channels share it.",
            _with(ops.token_linear_backward, dbias=lambda dy, x, weight: dy.sum(axis=2)),
        ),
        Mistake(
            "dbias is the mean over the columns. Every column counts in full: take the sum.",
            _with(ops.token_linear_backward, dbias=lambda dy, x, weight: dy.mean(axis=(1, 2))),
        ),
    ],
)

exercise(
    "8.4",
    "One mixing, two layouts",
    "my_token_mixing_tokens_first",
    reference=_forward,
    cases=_forward_inputs,
    returns="y",
    mistakes=[
        Mistake(
            "The weight is not transposed. In the familiar layout it is (S, O), with a row per token that goes in. "
            "From the left it is (O, S), with a row per token that comes out.",
            lambda x, weight, bias: ops.token_linear_forward(x.transpose(1, 0, 2), weight, bias)[0].transpose(1, 0, 2),
        ),
        Mistake(
            "x goes in with its images first. The token-major product needs the tokens as the first axis.",
            lambda x, weight, bias: ops.token_linear_forward(x, weight.T, bias)[0],
        ),
        Mistake(
            "The result is not turned back: it is (O, B, C), and (B, O, C) is asked for.",
            lambda x, weight, bias: ops.token_linear_forward(x.transpose(1, 0, 2), weight.T, bias)[0],
        ),
        Mistake(
            "A reshape stands where a transposition of x belongs: the right shape, the numbers in the wrong places.",
            lambda x, weight, bias: ops.token_linear_forward(x.reshape(x.shape[1], len(x), -1), weight.T, bias)[
                0
            ].transpose(1, 0, 2),
        ),
        Mistake(
            "The wrong axes are swapped. Swap images and tokens: (B, S, C) must become (S, B, C).",
            lambda x, weight, bias: ops.token_linear_forward(_turned(x), weight.T, bias)[0],
        ),
        Mistake(
            "The pair (y, cache) came back. Only y is asked for, with its axes swapped.",
            lambda x, weight, bias: ops.token_linear_forward(x.transpose(1, 0, 2), weight.T, bias),
        ),
    ],
)


def _mlp_forward(x, weight1, bias1, weight2, bias2):
    """The package's layer with these weights."""
    hidden, tokens = weight1.shape
    layer = TokenMixing(tokens, hidden, dtype="float64")
    layer.parameters.load({"weight1": weight1, "bias1": bias1, "weight2": weight2, "bias2": bias2})
    return layer.forward(x)[0]


def _mlp_with(bend, product=ops.token_linear_forward):
    """Product, bend, product."""

    def forward(x, weight1, bias1, weight2, bias2):
        return product(bend(product(x, weight1, bias1)[0]), weight2, bias2)[0]

    return forward


def _no_bias2(x, weight1, bias1, weight2, bias2):
    return _mlp_forward(x, weight1, bias1, weight2, np.zeros_like(bias2))


exercise(
    "8.5",
    "The token-mixing MLP",
    "my_token_mixing_mlp_forward",
    reference=_mlp_forward,
    cases=_mlp_inputs,
    returns="y",
    mistakes=[
        Mistake("The GELU between the two products is missing.", _mlp_with(lambda hidden: hidden)),
        Mistake(
            "These are products from the right, which mix channels. With tokens first, token mixing multiplies from "
            "the left: ops has another pair for that.",
            _mlp_with(lambda hidden: ops.gelu_tanh_forward(hidden)[0], ops.linear_forward),
        ),
        Mistake(
            "This is GELU's erf form. The tanh form is asked for. The two differ in the third or fourth digit.",
            _mlp_with(lambda hidden: ops.gelu_erf_forward(hidden)[0]),
        ),
        Mistake(
            "A second GELU follows the second product. The output of a mixing is a plain sum without a bend.",
            lambda *inputs: ops.gelu_tanh_forward(_mlp_forward(*inputs))[0],
        ),
        Mistake(
            "The GELU comes after both products. It belongs between them, on the hidden layer.",
            lambda *inputs: ops.gelu_tanh_forward(_mlp_with(lambda hidden: hidden)(*inputs))[0],
        ),
        Mistake(
            "This is the hidden layer, after its GELU. The second product, back to S tokens, is missing.",
            lambda x, weight1, bias1, weight2, bias2: ops.gelu_tanh_forward(
                ops.token_linear_forward(x, weight1, bias1)[0]
            )[0],
        ),
        Mistake("The second bias is missing.", _no_bias2),
    ],
)


def _parameters(S, C, DS, DC):
    return TokenMixing(S, DS, seed=None).parameters.count, ChannelMixing(C, DC, seed=None).parameters.count


exercise(
    "8.6",
    "Parameters of both mixings",
    "my_mixing_parameters",
    reference=_parameters,
    cases=lambda generator: ((3, 5, 7, 11), (64, 128, 64, 512), (4, 4, 4, 4), (196, 512, 256, 2048)),
    returns=("token_mixing", "channel_mixing"),
    mistakes=[
        Mistake(
            "The biases are missing: one per output of each Linear.", lambda S, C, DS, DC: (2 * S * DS, 2 * C * DC)
        ),
        Mistake(
            "The biases of the second Linear are missing: it has one per output, too.",
            lambda S, C, DS, DC: (2 * S * DS + DS, 2 * C * DC + DC),
        ),
        Mistake(
            "This counts the first Linear alone. The second leads back from the hidden layer.",
            lambda S, C, DS, DC: (S * DS + DS, C * DC + DC),
        ),
        Mistake(
            "Token mixing is counted once per channel. All channels share its weights, so they count once.",
            lambda S, C, DS, DC: (C * (2 * S * DS + DS + S), None),
        ),
        Mistake(
            "Each Linear's biases are as many as its inputs here. A bias belongs to an output: the first Linear has "
            "as many as the hidden layer, the second as many as the mixing has inputs.",
            lambda S, C, DS, DC: (2 * S * DS + 2 * S, 2 * C * DC + 2 * C),
        ),
    ],
)
