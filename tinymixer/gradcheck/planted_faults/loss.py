"""Mistakes in the gradient of the cross-entropy."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _inputs(generator: np.random.Generator) -> tuple[Any, ...]:
    """logits (4, 5), labels (4,), label smoothing."""
    return generator.normal(size=(4, 5)), np.array([0, 4, 2, 2]), 0.1


@fault("softmax_cross_entropy", _inputs)
def batch_mean_forgotten(dloss: Array, cache: Cache) -> Array:
    """The loss is a mean over the batch, the gradient that of the sum: 1 / B is missing."""
    return ops.softmax_cross_entropy_backward(dloss, cache) * len(cache[0])


@fault("softmax_cross_entropy", _inputs)
def label_smoothing_forgotten(dloss: Array, cache: Cache) -> Array:
    """The gradient is p minus the plain one-hot target, where the loss was smoothed."""
    log_probability, target, _ = cache
    one_hot = (target == target.max(axis=1, keepdims=True)).astype(target.dtype)
    return (np.exp(log_probability) - one_hot) * (dloss / len(target))


@fault("softmax_cross_entropy", _inputs)
def target_minus_probability(dloss: Array, cache: Cache) -> Array:
    """The gradient is target - p: the sign of what one would add, not of the derivative."""
    return -ops.softmax_cross_entropy_backward(dloss, cache)


@fault("softmax_cross_entropy", _inputs)
def upstream_gradient_ignored(dloss: Array, cache: Cache) -> Array:
    """dloss is taken as 1: a loss that is scaled, or one of several, gets the wrong gradient."""
    return ops.softmax_cross_entropy_backward(dloss * 0 + 1, cache)


@fault("softmax_cross_entropy", _inputs)
def softmax_over_the_batch(dloss: Array, cache: Cache) -> Array:
    """The gradient's probabilities are normalised over the batch instead of the classes."""
    log_probability, target, _ = cache
    probability = np.exp(log_probability)
    return (probability / probability.sum(axis=0, keepdims=True) - target) * (dloss / len(target))
