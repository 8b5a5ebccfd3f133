"""Exercises of lesson 06: softmax cross-entropy."""

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import loss
from tinymixer.lessons.exercise import Mistake, call_pair, exercise


def _logits(generator):
    """logits (B, K): sizes different, then alike, one image, rows of very large and very small logits, float32."""
    yield 2 * generator.normal(size=(3, 5))
    yield 2 * generator.normal(size=(4, 4))
    yield 2 * generator.normal(size=(1, 3))
    yield generator.normal(size=(3, 4)) + np.array([[1000.0], [-1000.0], [0.0]])
    yield 300 * generator.normal(size=(3, 4)).astype(np.float32)


def _logits_and_labels(generator):
    for logits in _logits(generator):
        images, classes = logits.shape
        # The least likely class of the first image: its probability may be too small for a logarithm.
        labels = generator.integers(classes, size=images)
        labels[0] = logits[0].argmin()
        yield logits, labels
    yield np.array([[0.0, 2000.0, 0.0], [0.0, 0.0, 2000.0]]), np.array([0, 2])


def _softmax(logits):
    """From the package's loss, whose cache holds the logarithms of the probabilities."""
    _, (log_probability, _, _) = ops.softmax_cross_entropy_forward(logits, np.zeros(len(logits), dtype=int))
    return np.exp(log_probability)


def _ratio(exponentials, axis=1):
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


NOT_KEPT = (
    "The largest logit of each row, or the sum, has lost its axis, so it no longer lines up with its own row: (B,) "
    "next to (B, K). Keep the axis with length 1."
)

exercise(
    "6.1",
    "Softmax",
    "my_softmax",
    reference=_softmax,
    cases=lambda generator: ((logits,) for logits in _logits(generator)),
    returns="p",
    tolerance=1e-5,  # float32 among the inputs
    mistakes=[
        Mistake(
            "The largest logit is not subtracted: exp overflows at 1000, and at -1000 zero is divided by zero.",
            lambda logits: _ratio(np.exp(logits)),
        ),
        Mistake(
            "The probabilities of a column add up to 1, not those of a row. An image is a row: axis 1.",
            lambda logits: _ratio(np.exp(logits - logits.max(axis=0, keepdims=True)), axis=0),
        ),
        Mistake(
            "The maximum of the whole array is subtracted. A row that lies far below it becomes all zeros, and zero is "
            "divided by zero: take each row's own maximum.",
            lambda logits: _ratio(np.exp(logits - logits.max())),
        ),
        Mistake(NOT_KEPT, lambda logits: _ratio(np.exp(logits - logits.max(axis=1)))),
        Mistake(
            NOT_KEPT,
            lambda logits: (
                np.exp(logits - logits.max(axis=1, keepdims=True))
                / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
            ),
        ),
        Mistake(
            NOT_KEPT,
            lambda logits: np.exp(logits - logits.max(axis=1)) / np.exp(logits - logits.max(axis=1)).sum(axis=1),
        ),
        Mistake(
            "All probabilities of the batch together add up to 1. Each image has its own: sum over its row.",
            lambda logits: _ratio(np.exp(logits - logits.max()), axis=None),
        ),
        Mistake(
            "All probabilities of the batch together add up to 1. Each image has its own: sum over its row.",
            lambda logits: _ratio(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=None),
        ),
        Mistake(
            "The division by the sum is missing.", lambda logits: np.exp(logits - logits.max(axis=1, keepdims=True))
        ),
        Mistake(
            "The mean of the row is subtracted where its largest logit belongs: exp may still overflow.",
            lambda logits: _ratio(np.exp(logits - logits.mean(axis=1, keepdims=True))),
        ),
    ],
)


def _cross_entropy(logits, labels):
    return ops.softmax_cross_entropy_forward(logits, labels)[0]


def _losses(logits, labels):
    """The loss of each image, (B,)."""
    return -_log_softmax(logits)[np.arange(len(labels)), labels]


def _log_softmax(logits, axis=1):
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


exercise(
    "6.2",
    "Cross-entropy",
    "my_cross_entropy",
    reference=_cross_entropy,
    cases=_logits_and_labels,
    returns="loss",
    tolerance=1e-5,
    mistakes=[
        Mistake(
            "This takes the logarithm of the softmax. Where a probability has become zero, its logarithm is infinite: "
            "take the logarithm on paper first.",
            lambda logits, labels: -np.mean(np.log(_softmax(logits)[np.arange(len(labels)), labels])),
        ),
        Mistake(
            "The largest logit of each row is not subtracted before exp, which overflows.",
            lambda logits, labels: np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]),
        ),
        Mistake(
            "The largest logit was subtracted inside the exponential and not added back outside, or subtracted from "
            "only one of the two parts.",
            lambda logits, labels: np.mean(
                np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
                - logits[np.arange(len(labels)), labels]
            ),
        ),
        Mistake(
            "This is the sum over the batch. We want the mean.",
            lambda logits, labels: np.sum(_losses(logits, labels)),
        ),
        Mistake(
            "The sign is wrong: the logarithm of a probability is negative, the loss is not.",
            lambda logits, labels: -np.mean(_losses(logits, labels)),
        ),
        Mistake("The losses of the images have not been averaged.", lambda logits, labels: _losses(logits, labels)),
        Mistake(
            "This was divided by B times K. The mean runs over images; each has one loss, not K.",
            lambda logits, labels: np.mean(_losses(logits, labels)) / logits.shape[1],
        ),
        Mistake(
            "logits[:, labels] takes every label from every row. Each row has one: index rows and columns together.",
            lambda logits, labels: -np.mean(_log_softmax(logits)[:, labels]),
        ),
        Mistake(
            "The sum runs over the batch, but it should run over the classes: an image is a row, axis 1.",
            lambda logits, labels: -np.mean(_log_softmax(logits, axis=0)[np.arange(len(labels)), labels]),
        ),
    ],
)


def _gradient(logits, labels):
    return ops.softmax_cross_entropy(logits, labels)[1]


def _one_hot(logits, labels):
    return np.eye(logits.shape[1])[labels]


def _planted(fault):
    """The gradient as a planted fault has it, from logits and labels."""
    return lambda logits, labels: fault(1.0, ops.softmax_cross_entropy_forward(logits, labels)[1])


def _gradient_inputs(generator):
    """Without float32, in which the target of np.eye would make float64: that is not what this exercise is about."""
    return (case for case in _logits_and_labels(generator) if case[0].dtype == np.float64)


exercise(
    "6.3",
    "The gradient of the cross-entropy",
    "my_cross_entropy_gradient",
    reference=_gradient,
    cases=_gradient_inputs,
    returns="dlogits",
    mistakes=[
        Mistake(
            "The 1/B is missing: the loss is a mean over the batch, so each image has only a share of it.",
            _planted(loss.batch_mean_forgotten),
        ),
        Mistake(
            "The sign is wrong: this is target minus p, the direction to walk in. The gradient points uphill.",
            _planted(loss.target_minus_probability),
        ),
        Mistake("The target is not subtracted.", lambda logits, labels: _softmax(logits) / len(labels)),
        Mistake(
            "The label's number is subtracted from the whole row. The target is a row: 1 at the label, 0 elsewhere.",
            lambda logits, labels: (_softmax(logits) - labels[:, None]) / len(labels),
        ),
        Mistake(
            "This subtracts the target from the logits, as the squared error does. Here probabilities are compared.",
            lambda logits, labels: (logits - _one_hot(logits, labels)) / len(labels),
        ),
        Mistake(
            "The softmax runs over the batch. The probabilities of one image, a row, add up to 1.",
            lambda logits, labels: (np.exp(_log_softmax(logits, axis=0)) - _one_hot(logits, labels)) / len(labels),
        ),
        Mistake(
            "This is divided by B times K. The mean runs over the images only.",
            lambda logits, labels: (_softmax(logits) - _one_hot(logits, labels)) / logits.size,
        ),
        Mistake(
            "The largest logit is not subtracted before exp, which overflows at logits of 1000.",
            lambda logits, labels: (_ratio(np.exp(logits)) - _one_hot(logits, labels)) / len(labels),
        ),
    ],
)


def _smoothed_inputs(generator):
    """dloss, logits (B, K), labels (B,), label smoothing."""
    settings = ((1.0, 0.1), (0.5, 0.3), (2.0, 0.0), (1.0, 0.1), (1.0, 0.2))
    for (dloss, smoothing), (logits, labels) in zip(settings, _gradient_inputs(generator), strict=True):
        yield dloss, logits, labels, smoothing


def _smoothed_pair(target):
    """The pair with another target: target(one_hot, smoothing, K)."""

    def forward(logits, labels, label_smoothing):
        wanted = target(_one_hot(logits, labels), label_smoothing, logits.shape[1])
        log_probability = _log_softmax(logits)
        return -np.sum(wanted * log_probability) / len(labels), (log_probability, wanted)

    def backward(dloss, cache):
        log_probability, wanted = cache
        return dloss * (np.exp(log_probability) - wanted) / len(wanted)

    return forward, backward


def _planted_pair(fault):
    return ops.softmax_cross_entropy_forward, fault


exercise(
    "6.4",
    "Cross-entropy with label smoothing",
    ("my_smoothed_forward", "my_smoothed_backward"),
    reference=(ops.softmax_cross_entropy_forward, ops.softmax_cross_entropy_backward),
    cases=_smoothed_inputs,
    returns=("loss", "dlogits"),
    call=call_pair,
    mistakes=[
        Mistake(
            "The loss is smoothed, but the gradient is not: it must subtract the same target.",
            _planted_pair(loss.label_smoothing_forgotten),
        ),
        Mistake(
            "The uniform part is not divided by the number of classes: the target must still add up to 1.",
            _smoothed_pair(lambda one_hot, smoothing, classes: (1 - smoothing) * one_hot + smoothing),
        ),
        Mistake(
            "The one-hot part keeps its full weight: the target must still add up to 1.",
            _smoothed_pair(lambda one_hot, smoothing, classes: one_hot + smoothing / classes),
        ),
        Mistake(
            "The right class has no share of the uniform part, which is spread over all K classes, including the right "
            "one.",
            _smoothed_pair(
                lambda one_hot, smoothing, classes: (
                    (1 - smoothing) * one_hot + smoothing / (classes - 1) * (1 - one_hot)
                )
            ),
        ),
        Mistake(
            "The loss is not smoothed: it is the loss with the plain one-hot target.",
            _smoothed_pair(lambda one_hot, smoothing, classes: one_hot),
        ),
        Mistake(
            "dloss is not used: a loss that is scaled, or one of several, would get the wrong gradient.",
            _planted_pair(loss.upstream_gradient_ignored),
        ),
        Mistake(
            "The 1/B is missing in the gradient: the loss is a mean over the batch.",
            _planted_pair(loss.batch_mean_forgotten),
        ),
        Mistake(
            "The sign of the gradient is wrong: this is target minus p.",
            _planted_pair(loss.target_minus_probability),
        ),
        Mistake(
            "The gradient subtracts the target from the logarithm of p. Use exp to get back to p.",
            _planted_pair(lambda dloss, cache: dloss * (cache[0] - cache[1]) / len(cache[1])),
        ),
    ],
)
