"""How a model's loss, gradients and logits are computed: layer by layer, or by a faster twin of the whole."""

from typing import Any, Protocol

import numpy as np

from tinymixer.backend import namespace
from tinymixer.models import MlpMixer
from tinymixer.optim.chunks import ParallelMap


class Computation(Protocol):
    """What a training step and an evaluation ask of a model."""

    model: MlpMixer
    parallel_map: ParallelMap  # a function like `map` that may do several things at once, for the update

    def logits(self, images: Any) -> Any:
        """images (B, height, width, in_channels), normalised  ->  logits (B, K)"""

    def loss_and_gradients(
        self,
        images: Any,
        labels: Any,
        label_smoothing: float = 0.0,
        rng: np.random.Generator | None = None,
        share: float = 1.0,
    ) -> tuple[Any, Any]:
        """images (B, ...), labels (B,) or (B, K)  ->  mean loss, images classified correctly.

        The parameters' gradients, times share, are added to `model.parameters.gradients`.
        """


class LayerByLayer:
    """The model's own layers: what every faster way is held to by tests."""

    def __init__(self, model: MlpMixer) -> None:
        self.model = model
        self.parallel_map: ParallelMap = map

    def logits(self, images: Any) -> Any:
        return self.model.forward(images)[0]

    def loss_and_gradients(
        self,
        images: Any,
        labels: Any,
        label_smoothing: float = 0.0,
        rng: np.random.Generator | None = None,
        share: float = 1.0,
    ) -> tuple[Any, Any]:
        xp, model = namespace(images), self.model
        logits, cache = model.forward(images, train=True, rng=rng)  # (B, K)
        loss, dlogits = model.ops.softmax_cross_entropy(logits, labels, label_smoothing)
        model.backward(dlogits * share, cache)
        target = labels if labels.ndim == 1 else xp.argmax(labels, axis=1)  # (B,)
        return loss, xp.sum(xp.argmax(logits, axis=1) == target)


def make_computation(model: MlpMixer, threads: int = 0, slice_images: int = 0) -> Computation:
    """The fastest computation for the model's backend; the one to read for a model made with kernels="reference".

    threads        threads on the processor, 0 for one per core
    slice_images   images that a thread works on at a time, 0 for as many as suit the cache
    """
    if model.backend.kernels == "reference" or model.backend.name != "numpy":
        return LayerByLayer(model)
    from tinymixer.engines.cpu import CpuMixer

    return CpuMixer(model, threads, slice_images)
