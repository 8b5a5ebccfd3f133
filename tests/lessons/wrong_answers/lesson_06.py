"""Wrong answers to lesson 06, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def as_in_the_textbook(logits):
    e = np.exp(logits)
    return e / e.sum(axis=1)[:, None]


def columns_add_up(logits):
    e = np.exp(logits - np.max(logits, 0))
    return e / np.sum(e, 0)


def one_maximum_for_all(logits):
    e = np.exp(logits - np.max(logits))
    return e / np.sum(e, axis=-1, keepdims=True)


def axis_not_kept(logits):
    e = np.exp(logits - np.max(logits, 1))
    return e / np.sum(e, 1)


def stable(logits):
    e = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def log_of_softmax(logits, labels):
    p = stable(logits)
    return np.mean([-np.log(row[label]) for row, label in zip(p, labels, strict=True)])


def maximum_lost(logits, labels):
    lse = np.log(np.sum(np.exp(logits - np.max(logits, 1, keepdims=True)), 1))
    return np.mean(lse - np.take_along_axis(logits, labels[:, None], 1)[:, 0])


def overflowing(logits, labels):
    lse = np.log(np.sum(np.exp(logits), 1))
    return np.mean(lse - np.take_along_axis(logits, labels[:, None], 1)[:, 0])


def summed(logits, labels):
    top = np.max(logits, 1)
    lse = top + np.log(np.sum(np.exp(logits - top[:, None]), 1))
    return np.sum(lse - logits[range(len(labels)), labels])


def not_divided(logits, labels):
    p = stable(logits)
    p[np.arange(len(p)), labels] -= 1
    return p


def downhill(logits, labels):
    return (np.identity(logits.shape[1])[labels] - stable(logits)) / logits.shape[0]


def no_target(logits, labels):
    return stable(logits) / logits.shape[0]


def label_subtracted(logits, labels):
    return (stable(logits) - labels.reshape(-1, 1)) / logits.shape[0]


def smoothed(logits, labels, e):
    K = logits.shape[1]
    target = np.full(logits.shape, e / K)
    target[np.arange(len(labels)), labels] += 1 - e
    return _loss(logits, target), (stable(logits), target)


def _loss(logits, target):
    top = logits.max(1)
    lse = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return np.mean(lse * target.sum(1) - (target * logits).sum(1))


def smoothed_without_k(logits, labels, e):
    target = np.full(logits.shape, e)
    target[np.arange(len(labels)), labels] += 1 - e
    return _loss(logits, target), (stable(logits), target)


def plain(logits, labels, e):
    target = np.identity(logits.shape[1])[labels]
    return _loss(logits, target), (stable(logits), target)


def backward(dloss, cache):
    p, target = cache
    return dloss * (p - target) / p.shape[0]


def backward_with_plain_target(dloss, cache):
    p, target = cache
    return dloss * (p - np.identity(p.shape[1])[target.argmax(1)]) / p.shape[0]


def backward_without_dloss(dloss, cache):
    p, target = cache
    return (p - target) / p.shape[0]


WRONG_ANSWERS = {
    "6.1": [
        (as_in_the_textbook, "The largest logit is not subtracted"),
        (columns_add_up, "probabilities of a column"),
        (one_maximum_for_all, "maximum of the whole array"),
        (axis_not_kept, "has lost its axis"),
    ],
    "6.2": [
        (log_of_softmax, "the logarithm of the softmax"),
        (maximum_lost, "not added again outside"),
        (overflowing, "is not subtracted before exp"),
        (summed, "sum over the batch"),
    ],
    "6.3": [
        (not_divided, "The 1/B is missing"),
        (downhill, "The sign is wrong"),
        (no_target, "The target is not subtracted"),
        (label_subtracted, "label's number is subtracted"),
    ],
    "6.4": [
        ((smoothed, backward_with_plain_target), "the gradient is not"),
        ((smoothed, backward_without_dloss), "dloss is not used"),
        ((smoothed_without_k, backward), "not divided by the number of classes"),
        ((plain, backward), "The loss is not smoothed"),
    ],
}
