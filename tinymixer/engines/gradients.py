"""The loss and the gradients of a batch by a model's own layers: forward, loss, backward."""

from typing import Any

from tinymixer.backend import namespace
from tinymixer.draws import Draws
from tinymixer.models import Model

TOLERANCES = {"float32": 1e-4, "float64": 1e-10}  # relative: a batch computed in parts against the whole batch


def loss_and_gradients(
    model: Model, images: Any, labels: Any, label_smoothing: float = 0.0, rng: Draws | None = None, share: float = 1.0
) -> tuple[Any, Any]:
    """Forward, loss, backward, by the model's own layers: see `Engine.loss_and_gradients`."""
    xp = namespace(images)
    logits, cache = model.forward(images, train=True, rng=rng)  # (B, K)
    loss, dlogits = model.ops.softmax_cross_entropy(logits, labels, label_smoothing)
    model.backward(dlogits * share, cache)
    model.parameters.collect_buffer_change(lambda: model.update_buffers(cache), share)
    target = labels if labels.ndim == 1 else xp.argmax(labels, axis=1)  # (B,)
    return loss, xp.sum(xp.argmax(logits, axis=1) == target)
