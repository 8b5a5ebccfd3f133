"""Softmax and cross-entropy in one operation, which keeps it numerically stable."""

from tinymixer.errors import ConfigError
from tinymixer.ops.array_library import Array, Cache, namespace
from tinymixer.ops.precision import statistics_dtype
from tinymixer.ops.shapes import expect_labels, expect_shape


def softmax_cross_entropy_forward(logits: Array, targets: Array, label_smoothing: float = 0.0) -> tuple[Array, Cache]:
    """Mean over the batch of the cross-entropy between softmax(logits) and the targets.

    logits (B, K), targets (B,) integer labels or (B, K) rows of probabilities  ->  loss (), in float32 or better

        log p = logits - max - log(sum(exp(logits - max)))        loss = -mean_b sum_k target log p

    Subtracting the row's maximum changes no probability and keeps exp from overflowing. Label smoothing
    (Szegedy et al. 2016, section 7) mixes each target with the uniform distribution: (1 - e) target + e / K.

    Labels must lie in 0..K-1 and rows of probabilities must sum to 1. The data loaders check that once; here only
    labels in NumPy arrays are checked again, since reading values would make a GPU wait at every step.
    Raises ShapeError for other shapes, DataError for other labels, ConfigError for a label_smoothing outside [0, 1).

    See: lessons/06_softmax_cross_entropy.ipynb, "softmax_cross_entropy" in lessons/cheatsheet.md,
    tests/ops/test_softmax_cross_entropy.py
    """
    xp = namespace(logits)
    expect_shape("logits", logits, "B K")
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
    images, classes = logits.shape
    if targets.ndim == 1:
        expect_shape("targets", targets, "B", B=images)
        expect_labels("targets", targets, classes)
        target = (targets.reshape(images, 1) == xp.arange(classes)).astype(statistics_dtype(logits))  # (B, K)
    else:
        expect_shape("targets", targets, "B K", B=images, K=classes)
        target = targets.astype(statistics_dtype(logits), copy=False)  # (B, K)
    if smoothing := float(label_smoothing):
        target = (1.0 - smoothing) * target + smoothing / classes  # (B, K)
    shifted = (logits - xp.max(logits, axis=1, keepdims=True)).astype(statistics_dtype(logits), copy=False)  # (B, K)
    log_probability = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))  # (B, K)
    loss = -xp.sum(target * log_probability) / images  # ()
    return loss, (log_probability, target, logits.dtype)


def softmax_cross_entropy_backward(dloss: Array | float, cache: Cache) -> Array:
    """An image's loss is log(sum(exp(logits))) - sum(target * logits). The derivative of the first term is the
    softmax p, that of the second the target:

        dlogits = dloss * (p - target) / B

    dloss ()  ->  dlogits (B, K)
    """
    log_probability, target, dtype = cache
    xp = namespace(log_probability)
    dlogits = (xp.exp(log_probability) - target) * (dloss / target.shape[0])  # (B, K)
    return dlogits.astype(dtype, copy=False)


def softmax_cross_entropy(logits: Array, targets: Array, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    """The loss and its gradient with respect to the logits, as a training step needs them.

    logits (B, K), targets (B,) or (B, K)  ->  loss (), dlogits (B, K)
    """
    loss, cache = softmax_cross_entropy_forward(logits, targets, label_smoothing)
    return loss, softmax_cross_entropy_backward(1.0, cache)
