"""Exercises of lesson 14: attention, forward, backward and by heads."""

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import attention as faults
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.ops.self_attention import split_heads

# ------------------------------------------------------------------------------------------ 14.1 attention forward


def _queries_keys_values(generator):
    """q, k, v (S, D) each: more tokens than channels, fewer, as many, and two tokens of one channel."""
    for tokens, channels in ((5, 3), (2, 4), (4, 4), (2, 1)):
        yield tuple(generator.normal(size=(3, tokens, channels)))


def _joined(q, k, v):
    """qkv (S, 1, 3*D) of one image and one head"""
    return np.concatenate([q, k, v], axis=1)[:, None]


def _attention_forward(q, k, v):
    """The package's operation, on one image with one head."""
    y, _ = ops.self_attention_forward(_joined(q, k, v), 1)  # (S, 1, D)
    return y[:, 0], None


def _softmax(scores, axis=-1):
    return np.moveaxis(ops.softmax_forward(np.moveaxis(scores, axis, -1))[0], -1, axis)


def _scores(q, k):
    return q @ k.T / np.sqrt(q.shape[1])


def _wrong_attention(scores=_scores, weights=_softmax, values=lambda a, q, k, v: a @ v):
    """Attention with switches for several mistakes."""
    return lambda q, k, v: (values(weights(scores(q, k)), q, k, v), None)


exercise(
    "14.1",
    "Attention forward",
    "my_attention_forward",
    reference=_attention_forward,
    cases=_queries_keys_values,
    returns=("y", "cache"),
    mistakes=[
        Mistake(
            "The scores are not divided by sqrt(D). They grow with the number of channels, and the softmax becomes too "
            "sharp.",
            _wrong_attention(scores=lambda q, k: q @ k.T),
        ),
        Mistake(
            "The scores are divided by D. Their standard deviation grows like its root.",
            _wrong_attention(scores=lambda q, k: q @ k.T / q.shape[1]),
        ),
        Mistake(
            "The scores are divided by the root of the number of tokens. Each of them is a sum over the D channels.",
            _wrong_attention(scores=lambda q, k: q @ k.T / np.sqrt(len(q))),
        ),
        Mistake(
            "The scores are divided by the root of the size of a whole array. Each is a sum over the D channels.",
            _wrong_attention(scores=lambda q, k: q @ k.T / np.sqrt(q.size)),
        ),
        Mistake(
            "The scores are multiplied by sqrt(D), where they should be divided by it.",
            _wrong_attention(scores=lambda q, k: q @ k.T * np.sqrt(q.shape[1])),
        ),
        Mistake(
            "The division by sqrt(D) comes after the softmax, so that the weights of a row no longer add up to 1. It "
            "belongs to the scores.",
            _wrong_attention(scores=lambda q, k: q @ k.T, values=lambda a, q, k, v: a @ v / np.sqrt(q.shape[1])),
        ),
        Mistake(
            "The softmax runs along the columns of the scores. Each query, a row, shares out a sum of 1 over the keys.",
            _wrong_attention(weights=lambda scores: _softmax(scores, axis=0)),
        ),
        Mistake(
            "One softmax runs over the whole table of scores. Each row has its own, with a sum of 1.",
            _wrong_attention(weights=lambda scores: np.exp(scores) / np.exp(scores).sum()),
        ),
        Mistake(
            "The softmax is missing: the values are mixed with the scores themselves, which may be negative.",
            _wrong_attention(weights=lambda scores: scores),
        ),
        Mistake(
            "The exponentials are not divided by the sum of their row, so that the weights do not add up to 1.",
            _wrong_attention(weights=np.exp),
        ),
        Mistake(
            "Queries and keys have changed places: row i of the scores belongs to the query of token i.",
            _wrong_attention(scores=lambda q, k: _scores(k, q)),
        ),
        Mistake(
            "The weights are transposed before they meet the values. Row i holds the weights of the new token i.",
            _wrong_attention(values=lambda a, q, k, v: a.T @ v),
        ),
        Mistake(
            "The weights mix the keys. What is added up is the values: keys only say how much of each.",
            _wrong_attention(values=lambda a, q, k, v: a @ k),
        ),
        Mistake(
            "The weights mix the queries. What is added up is the values.",
            _wrong_attention(values=lambda a, q, k, v: a @ q),
        ),
        Mistake(
            "These are the weights a. The last step is missing, in which they mix the values.",
            _wrong_attention(values=lambda a, q, k, v: a),
        ),
        Mistake(
            "The scores were made of channels instead of tokens, (D, D): the sum in a score runs over the channels e, "
            "so the tokens of q and of k must be what is left.",
            _wrong_attention(scores=lambda q, k: q.T @ k / np.sqrt(q.shape[1]), values=lambda a, q, k, v: v @ a),
        ),
        Mistake(
            "The scores were made of channels instead of tokens, (D, D): the sum in a score runs over the channels e, "
            "so the tokens of q and of k must be what is left.",
            _wrong_attention(scores=lambda q, k: q.T @ k / np.sqrt(q.shape[1])),
        ),
        Mistake(
            "The scores were made of channels instead of tokens, (D, D): the sum in a score runs over the channels e, "
            "so the tokens of q and of k must be what is left.",
            _wrong_attention(scores=lambda q, k: q.T @ k / np.sqrt(q.shape[1]), values=lambda a, q, k, v: v @ a.T),
        ),
        Mistake(
            "q and k are multiplied as they are, and their inner sizes do not meet: (S, D) beside (S, D). The sum runs "
            "over the channels of both.",
            _wrong_attention(scores=lambda q, k: q @ k / np.sqrt(q.shape[1])),
        ),
        Mistake(
            "q * k multiplies element by element, and gives a token a score for each of its own channels. A score "
            "belongs to a pair of tokens, and sums over the channels.",
            _wrong_attention(scores=lambda q, k: q * k / np.sqrt(q.shape[1]), values=lambda a, q, k, v: a * v),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 14.3 attention backward


def _backward_inputs(generator):
    """dy (S, D) and the cache (q, k, v, a)."""
    for q, k, v in _queries_keys_values(generator):
        yield generator.normal(size=q.shape), (q, k, v, _softmax(_scores(q, k)))


def _attention_backward(dy, cache):
    """The package's operation, on one image with one head."""
    q, k, v, _ = cache
    dqkv = ops.self_attention_backward(dy[:, None], (_joined(q, k, v), 1))  # (S, 1, 3*D)
    return tuple(np.split(dqkv[:, 0], 3, axis=1))


def _ds(dy, v, a, softmax_backward=ops.softmax_backward):
    return softmax_backward(dy @ v.T, a)


def _from_ds(make_ds=_ds, factor=lambda D: D**-0.5):
    """The five steps, with another ds or another factor at the end."""

    def backward(dy, cache):
        q, k, v, a = cache
        ds = make_ds(dy, v, a) * factor(q.shape[1])
        return ds @ k, ds.T @ q, a.T @ dy

    return backward


def _by_the_root_of_tokens(dy, cache):
    q, k, v, a = cache
    ds = _ds(dy, v, a) / np.sqrt(len(q))
    return ds @ k, ds.T @ q, a.T @ dy


def _with(dq=None, dk=None, dv=None):
    """The right gradients, some of them replaced by a function of (dy, ds, q, k, v, a), ds without its factor."""

    def backward(dy, cache):
        q, k, v, a = cache
        given = (dq, dk, dv)
        return tuple(
            right if wrong is None else wrong(dy, _ds(dy, v, a) / np.sqrt(q.shape[1]), q, k, v, a)
            for right, wrong in zip(_attention_backward(dy, cache), given, strict=True)
        )

    return backward


exercise(
    "14.3",
    "Attention backward",
    "my_attention_backward",
    reference=_attention_backward,
    cases=_backward_inputs,
    returns=("dq", "dk", "dv"),
    mistakes=[
        Mistake(
            "The factor 1 / sqrt(D) is missing: the forward pass divides the scores by it, so both gradients that go "
            "through the scores have it.",
            _from_ds(factor=lambda D: 1),
        ),
        Mistake(
            "What comes back through the scores is divided by D. The forward pass divides them by its root.",
            _from_ds(factor=lambda D: 1 / D),
        ),
        Mistake(
            "What comes back through the scores is divided by the root of the number of tokens. The forward pass "
            "divides them by sqrt(D), the channels'.",
            _by_the_root_of_tokens,
        ),
        Mistake(
            "The softmax is left out on the way back: da was taken for the gradient of the scores.",
            _from_ds(lambda dy, v, a: dy @ v.T),
        ),
        Mistake(
            "On the way back through the softmax the sum of the row is missing: only a da is left, the first of its "
            "two terms.",
            _from_ds(lambda dy, v, a: _ds(dy, v, a, faults.sum_of_the_row_forgotten)),
        ),
        Mistake(
            "The softmax is taken for elementwise, a (1 - a) da. Each score reaches all weights of its row.",
            _from_ds(lambda dy, v, a: _ds(dy, v, a, faults.softmax_taken_for_a_sigmoid)),
        ),
        Mistake(
            "The softmax's weighted mean is taken over columns. Each row of the scores is a softmax.",
            _from_ds(lambda dy, v, a: _ds(dy, v, a, faults.weighted_mean_of_the_wrong_axis)),
        ),
        Mistake(
            "da went through a softmax, forward. What is needed is the way back through the one that made a.",
            _from_ds(lambda dy, v, a: _softmax(dy @ v.T)),
        ),
        Mistake(
            "dy and a went into ops.softmax_backward, which wants the gradient of the weights, da, of shape (S, S). "
            "Between dy and the weights stands the product with the values.",
            lambda dy, cache: (ops.softmax_backward(dy, cache[3]) @ cache[1], None, None),
        ),
        Mistake(
            "da is transposed: row i of the weights made row i of y, so row i of da comes from row i of dy.",
            _from_ds(lambda dy, v, a: ops.softmax_backward(v @ dy.T, a)),
        ),
        Mistake(
            "da multiplies dy and v as they are. Its sum runs over the channels of both.",
            _from_ds(lambda dy, v, a: ops.softmax_backward(dy @ v, a)),
        ),
        Mistake(
            "dq is built from q. A query reaches its scores with the keys as factors.",
            _with(dq=lambda dy, ds, q, k, v, a: ds @ q, dk=lambda dy, ds, q, k, v, a: ds.T @ k),
        ),
        Mistake(
            "dq is built from q. A query reaches its scores with the keys as factors.",
            _with(dq=lambda dy, ds, q, k, v, a: ds @ q),
        ),
        Mistake(
            "dq has ds transposed. Query i reaches the scores of row i.",
            _with(dq=lambda dy, ds, q, k, v, a: ds.T @ k),
        ),
        Mistake(
            "dk has ds as it is. Key j reaches the scores of column j: its sum runs over i, the rows.",
            _with(dk=lambda dy, ds, q, k, v, a: ds @ q),
        ),
        Mistake(
            "dk is built from k. A key reaches its scores with the queries as factors.",
            _with(dk=lambda dy, ds, q, k, v, a: ds.T @ k),
        ),
        Mistake(
            "dk lacks the factor 1 / sqrt(D), which dq has.",
            _with(dk=lambda dy, ds, q, k, v, a: ds.T @ q * np.sqrt(q.shape[1])),
        ),
        Mistake(
            "dv is a dy instead of what goes the other way. Token i collected from the tokens j; now each j gets back "
            "from all i that collected, a sum over the rows of a.",
            _with(dv=lambda dy, ds, q, k, v, a: a @ dy),
        ),
        Mistake(
            "dv is divided by sqrt(D). That factor belongs to the scores, and the values do not go through them.",
            _with(dv=lambda dy, ds, q, k, v, a: a.T @ dy / np.sqrt(q.shape[1])),
        ),
        Mistake(
            "dv is built from the gradient of the scores. The values meet the weights a themselves.",
            _with(dv=lambda dy, ds, q, k, v, a: ds.T @ dy),
        ),
        Mistake(
            "dv is dy: the weights are missing, by which each value reached the outputs.",
            _with(dv=lambda dy, ds, q, k, v, a: dy),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 14.4 heads


def _heads_inputs(generator):
    """dy (B, heads, S, D), x (S, B, C) and heads: sizes different, alike, one head, heads of one channel."""
    for tokens, images, heads, width in ((5, 2, 3, 4), (2, 2, 2, 2), (3, 4, 1, 2), (4, 3, 5, 1)):
        dy = generator.normal(size=(images, heads, tokens, width))
        yield dy, generator.normal(size=(tokens, images, heads * width)), heads


def _split_and_merge(split, merge, dy, x, heads):
    return split(x, heads), merge(dy)


def _split(x, heads):
    return split_heads(x, heads, parts=1)[0]


def _merge(dy):
    images, heads, tokens, width = dy.shape
    return dy.transpose(2, 0, 1, 3).reshape(tokens, images, heads * width)


def _cut(x, heads):
    """(S, B, heads, D)"""
    return x.reshape(*x.shape[:2], heads, -1)


exercise(
    "14.4",
    "Heads: split and merge",
    ("my_split_heads", "my_merge_heads"),
    reference=(_split, _merge),
    cases=_heads_inputs,
    returns=("split", "merged"),
    call=_split_and_merge,
    mistakes=[
        Mistake(
            "x was reshaped into the shape asked for. Its numbers lie token by token, and a reshape keeps that order: "
            "cut the channels first, then exchange axes.",
            (lambda x, heads: x.reshape(x.shape[1], heads, x.shape[0], -1), _merge),
        ),
        Mistake(
            "The channels are cut the other way round, heads last: a head's channels are then scattered over the row. "
            "They lie beside each other.",
            (lambda x, heads: x.reshape(*x.shape[:2], -1, heads).transpose(1, 3, 0, 2), _merge),
        ),
        Mistake(
            "The channels are cut into heads, but the axes stay where they were: this is (S, B, heads, D).",
            (_cut, _merge),
        ),
        Mistake(
            "Heads come before images here: (heads, B, S, D).",
            (lambda x, heads: _cut(x, heads).transpose(2, 1, 0, 3), _merge),
        ),
        Mistake(
            "Tokens and images are exchanged, and the heads stand behind the tokens: (B, S, heads, D). Attention needs "
            "tokens and channels as the last two axes.",
            (lambda x, heads: _cut(x, heads).transpose(1, 0, 2, 3), _merge),
        ),
        Mistake(
            "The last two axes are exchanged: (B, heads, D, S). Tokens come before channels.",
            (lambda x, heads: _cut(x, heads).transpose(1, 2, 3, 0), _merge),
        ),
        Mistake(
            "In merging, a reshape alone puts the numbers into other places. Bring the axes into the order (S, B, "
            "heads, D) first.",
            (_split, lambda dy: dy.reshape(dy.shape[2], dy.shape[0], -1)),
        ),
        Mistake(
            "In merging, the channels of the heads are interleaved. All channels of head 0 come first.",
            (_split, lambda dy: dy.transpose(2, 0, 3, 1).reshape(dy.shape[2], dy.shape[0], -1)),
        ),
        Mistake(
            "The merged array still has four axes, (S, B, heads, D). Join the last two.",
            (_split, lambda dy: dy.transpose(2, 0, 1, 3)),
        ),
        Mistake(
            "The merged array has the images first, (B, S, C). Tokens come first.",
            (_split, lambda dy: dy.transpose(0, 2, 1, 3).reshape(dy.shape[0], dy.shape[2], -1)),
        ),
        Mistake(
            "In merging, the axes are taken by the numbers that split them. To undo a transposition takes the other "
            "way round: where is the axis of the tokens now?",
            (_split, lambda dy: dy.transpose(1, 2, 0, 3).reshape(dy.shape[2], dy.shape[0], -1)),
        ),
    ],
)
