"""Exercises of lesson 14: what attention costs beside token mixing, softmax, order and positions."""

import math

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import attention as faults
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig

# ------------------------------------------------------------------------------------------ 14.2 softmax backward


def _rows(generator):
    """dy and y (..., N): rows of probabilities; sizes different, alike, three axes, a single row."""
    for shape in ((4, 3), (2, 5), (4, 4), (3, 2, 5), (1, 6)):
        y, _ = ops.softmax_forward(generator.normal(size=shape))
        yield generator.normal(size=shape), y


exercise(
    "14.2",
    "Softmax backward",
    "my_softmax_backward",
    reference=ops.softmax_backward,
    cases=_rows,
    returns="dx",
    mistakes=[
        Mistake(
            "The sum of the row is missing: each y also falls when the other exponentials of its row grow. This is the "
            "first of the two terms.",
            faults.sum_of_the_row_forgotten,
        ),
        Mistake(
            "This is y (1 - y) dy, the diagonal of the Jacobian alone. Each x reaches all y of its row.",
            faults.softmax_taken_for_a_sigmoid,
        ),
        Mistake(
            "The weighted mean is taken over another axis than that of the rows. A row lies along the last axis.",
            faults.weighted_mean_of_the_wrong_axis,
        ),
        Mistake(
            "The weighted mean is taken over the whole array. Every row has its own.",
            lambda dy, y: y * (dy - (dy * y).sum()),
        ),
        Mistake(
            "The weighted mean has lost its axis, so that it no longer meets its own row.",
            lambda dy, y: y * (dy - (dy * y).sum(axis=-1)),
        ),
        Mistake(
            "What is subtracted is the plain mean of dy. In the mean that is wanted each dy counts with its own y.",
            lambda dy, y: y * (dy - dy.mean(axis=-1, keepdims=True)),
        ),
        Mistake(
            "What is subtracted is the plain sum of dy. In the sum that is wanted each dy counts with its own y.",
            lambda dy, y: y * (dy - dy.sum(axis=-1, keepdims=True)),
        ),
        Mistake(
            "The products dy y were averaged. y has a sum of 1 already, so their sum is the weighted mean.",
            lambda dy, y: y * (dy - (dy * y).mean(axis=-1, keepdims=True)),
        ),
        Mistake(
            "The weighted mean is added. The term with two probabilities has a minus.",
            lambda dy, y: y * (dy + (dy * y).sum(axis=-1, keepdims=True)),
        ),
        Mistake(
            "The factor y in front is missing: a score moves its row in proportion to its own probability.",
            lambda dy, y: dy - (dy * y).sum(axis=-1, keepdims=True),
        ),
        Mistake(
            "The factor y does not stand before the weighted mean. It belongs to both terms.",
            lambda dy, y: y * dy - (dy * y).sum(axis=-1, keepdims=True),
        ),
        Mistake(
            "The second term has y twice outside of its sum. Of its two probabilities one stands outside and the other "
            "within the sum.",
            lambda dy, y: y * (dy - y * dy.sum(axis=-1, keepdims=True)),
        ),
        Mistake(
            "The second term has y once too often: in the bracket the sum stands alone, without a factor y of its own.",
            lambda dy, y: y * (dy - y * (dy * y).sum(axis=-1, keepdims=True)),
        ),
        Mistake(
            "This is p - t, the gradient of softmax and logarithm together (lesson 06). Here dy is no target but "
            "whatever a later layer sent back.",
            lambda dy, y: y - dy,
        ),
        Mistake(
            "np.diag and np.outer make the Jacobian of one row. Here are many rows, and the formula in the box needs "
            "no Jacobian.",
            lambda dy, y: dy @ (np.diag(y) - np.outer(y, y)),
        ),
        Mistake(
            "np.diag and np.outer make the Jacobian of one row. Here are many rows, and the formula in the box needs "
            "no Jacobian.",
            lambda dy, y: (np.diag(y) - np.outer(y, y)) @ dy,
        ),
        Mistake(
            "What is subtracted from dy is y itself. It is one number for each row: a mean of dy.",
            lambda dy, y: y * (dy - y),
        ),
        Mistake(
            "y went through a softmax once more. It holds the probabilities already.",
            lambda dy, y: ops.softmax_backward(dy, ops.softmax_forward(y)[0]),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 14.5 costs


def _multiply_adds(S, C, DS, heads, tokens):
    """Of a model with one block that mixes tokens in that way, by the package."""
    return MixerConfig(
        image_size=math.isqrt(S), patch_size=1, in_channels=1, hidden_dim=C, num_blocks=1, tokens=tokens,
        tokens_mlp_dim=DS, heads=heads,
    ).multiply_adds  # fmt: skip


def _costs(S, C, DS, heads):
    mlp, attention, none = (_multiply_adds(S, C, DS, heads, tokens) for tokens in ("mlp", "attention", "none"))
    return mlp - none, attention - none, heads * S * S


def _costs_with(attention=None, token_mixing=None, scores=None):
    """The right counts, some replaced by a function of (S, C, DS, heads)."""

    def counts(S, C, DS, heads):
        given = (token_mixing, attention, scores)
        right = _costs(S, C, DS, heads)
        return tuple(one if wrong is None else wrong(S, C, DS, heads) for one, wrong in zip(right, given, strict=True))

    return counts


exercise(
    "14.5",
    "What both mixings cost",
    "my_mixing_costs",
    reference=_costs,
    cases=lambda generator: ((9, 6, 5, 3), (196, 512, 256, 8), (4, 4, 4, 4), (64, 64, 128, 1)),
    returns=("token_mixing", "attention", "scores"),
    mistakes=[
        Mistake(
            "Token mixing is counted once. Its MLP has two products: from S to DS tokens, and back.",
            _costs_with(token_mixing=lambda S, C, DS, heads: S * DS * C),
        ),
        Mistake(
            "This is one Linear from S tokens to S. Token mixing is an MLP, with DS hidden units between two products.",
            _costs_with(token_mixing=lambda S, C, DS, heads: S * S * C),
        ),
        Mistake(
            "These are the weights of token mixing. Each of them is used once for every channel.",
            _costs_with(token_mixing=lambda S, C, DS, heads: 2 * S * DS),
        ),
        Mistake(
            "Multiplications and additions are counted apart, so everything is twice as large. A multiply-add is one.",
            lambda S, C, DS, heads: (4 * S * DS * C, 8 * S * C * C + 4 * S * S * C, heads * S * S),
        ),
        Mistake(
            "Attention's Linears are missing: queries, keys, values and what comes after the heads.",
            _costs_with(lambda S, C, DS, heads: 2 * S * S * C),
        ),
        Mistake(
            "The products over pairs of tokens are missing in attention.",
            _costs_with(lambda S, C, DS, heads: 4 * S * C * C),
        ),
        Mistake(
            "The second Linear of attention, from C to C after the heads, is missing.",
            _costs_with(lambda S, C, DS, heads: 3 * S * C * C + 2 * S * S * C),
        ),
        Mistake(
            "Of queries, keys and values only one is counted: the first Linear goes from C to 3C.",
            _costs_with(lambda S, C, DS, heads: 2 * S * C * C + 2 * S * S * C),
        ),
        Mistake(
            "The Linears of attention are counted for one token. Each token goes through them.",
            _costs_with(lambda S, C, DS, heads: 4 * C * C + 2 * S * S * C),
        ),
        Mistake(
            "Only one of the two products over pairs is counted: there is one that makes the scores, and one that "
            "mixes the values.",
            _costs_with(lambda S, C, DS, heads: 4 * S * C * C + S * S * C),
        ),
        Mistake(
            "The pairs are counted with all C channels in every head. A head has D = C / heads of them.",
            _costs_with(lambda S, C, DS, heads: 4 * S * C * C + 2 * heads * S * S * C),
        ),
        Mistake(
            "The pairs are counted for one head. There are as many products as heads.",
            _costs_with(lambda S, C, DS, heads: 4 * S * C * C + 2 * S * S * (C // heads)),
        ),
        Mistake(
            "The scores are counted for one head. Each head has its own table.",
            _costs_with(scores=lambda S, C, DS, heads: S * S),
        ),
        Mistake(
            "The scores are a number for each pair of tokens and head. D is not left in them: the sum has run over it.",
            _costs_with(scores=lambda S, C, DS, heads: S * S * C),
        ),
        Mistake(
            "These are the numbers in the tokens. The scores have one for each pair of tokens.",
            _costs_with(scores=lambda S, C, DS, heads: S * C),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 14.6 another order


def _orders(generator):
    """mix, x (S, B, C), order (S,): a mixing that notices the order, and orders that do not undo themselves."""
    for tokens, images, channels in ((5, 2, 3), (4, 4, 4), (3, 1, 2)):
        weight = generator.normal(size=(tokens, tokens))
        order = generator.permutation(tokens)
        while np.array_equal(order[order], np.arange(tokens)):
            order = generator.permutation(tokens)

        def mix(x, weight=weight):
            return np.tensordot(weight, x, axes=1)

        yield mix, generator.normal(size=(tokens, images, channels)), order


exercise(
    "14.6",
    "Mixed in another order",
    "my_mixed_in_another_order",
    reference=lambda mix, x, order: mix(x[order])[np.argsort(order)],
    cases=_orders,
    returns="y",
    mistakes=[
        Mistake(
            "The results are not put back: they stand in the shuffled order.",
            lambda mix, x, order: mix(x[order]),
        ),
        Mistake(
            "The results are shuffled a second time by the same order. That is not the way back: place n holds token "
            "order[n], and its result belongs to place order[n].",
            lambda mix, x, order: mix(x[order])[order],
        ),
        Mistake(
            "Nothing was shuffled before mixing: these are the results for x as it came.",
            lambda mix, x, order: mix(x),
        ),
        Mistake(
            "The tokens went in as they were, and only the results were shuffled.",
            lambda mix, x, order: mix(x)[order],
        ),
        Mistake(
            "The tokens went in as they were, and only the results were shuffled.",
            lambda mix, x, order: mix(x)[np.argsort(order)],
        ),
        Mistake(
            "The way there and the way back are exchanged: x[order] is what is to be mixed.",
            lambda mix, x, order: mix(x[np.argsort(order)])[order],
        ),
        Mistake(
            "The results were taken by the order read backwards. That does not undo it: which place did token 0 go to?",
            lambda mix, x, order: mix(x[order])[order[::-1]],
        ),
        Mistake(
            "Another axis than that of the tokens is shuffled. They are the first axis, (S, B, C).",
            lambda mix, x, order: mix(x[:, order]),
        ),
        Mistake(
            "Another axis than that of the tokens is shuffled. They are the first axis, (S, B, C).",
            lambda mix, x, order: mix(x[:, :, order]),
        ),
        Mistake(
            "The shuffled tokens were put back without having been mixed.",
            lambda mix, x, order: x.copy(),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 14.7 position embeddings

exercise(
    "14.7",
    "Position embeddings backward",
    "my_position_embedding_backward",
    reference=lambda dy: ops.position_embedding_backward(dy, dy.shape),
    cases=lambda generator: ((generator.normal(size=shape),) for shape in ((4, 3, 5), (3, 3, 3), (2, 1, 4))),
    returns=("dx", "dembedding"),
    mistakes=[
        Mistake(
            "dembedding is the mean over the images. Each of them adds its whole share: take the sum.",
            lambda dy: faults.embedding_gradient_averaged(dy, dy.shape),
        ),
        Mistake(
            "dembedding sums over the tokens. Each place has an embedding of its own; the images share it.",
            lambda dy: (dy.copy(), dy.sum(axis=0)),
        ),
        Mistake(
            "dembedding sums over the channels. It has a number for each of them, and the images share it.",
            lambda dy: (dy.copy(), dy.sum(axis=2)),
        ),
        Mistake(
            "dembedding has an entry per image. All images share the embedding: sum over them.",
            lambda dy: (dy.copy(), dy.copy()),
        ),
        Mistake(
            "dembedding sums over tokens and images, as for a bias. Each place has an embedding of its own.",
            lambda dy: (dy.copy(), dy.sum(axis=(0, 1))),
        ),
        Mistake(
            "dembedding comes from the first image alone. All images share the embedding: sum over them.",
            lambda dy: (dy.copy(), dy[:, 0].copy()),
        ),
        Mistake(
            "dembedding comes from the first token alone. Each place has an embedding of its own; the images share it.",
            lambda dy: (dy.copy(), dy[0].copy()),
        ),
        Mistake(
            "dx is zero. x goes straight into the sum, with the factor 1.",
            lambda dy: (np.zeros_like(dy), dy.sum(axis=1)),
        ),
        Mistake(
            "dx is shared out among the images. Each image has its own x, which reaches its own y with the factor 1.",
            lambda dy: (dy / dy.shape[1], dy.sum(axis=1)),
        ),
    ],
)
