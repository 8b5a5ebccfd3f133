"""The gradient check of a whole model with its loss."""

import time
from typing import Any

from tinymixer.gradcheck.arrays import is_array
from tinymixer.gradcheck.conduct import conduct_rows
from tinymixer.gradcheck.gradients import Settings, gradient_rows
from tinymixer.gradcheck.layer import LayerSubject, layer_conduct_rows
from tinymixer.gradcheck.precision import precision_rows
from tinymixer.gradcheck.report import NotCheckableError, Report
from tinymixer.gradcheck.sampling import joint_row
from tinymixer.gradcheck.subject import WrongGradientsError, stream
from tinymixer.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from tinymixer.ops.array_library import namespace


def check_model(
    model: Any,
    images: Any,
    labels: Any,
    *,
    train: bool = False,
    label_smoothing: float = 0.0,
    name: str | None = None,
    float32_twin: Any = None,
    tolerance: float = 1e-6,
    jacobian_limit: int = 0,
    samples: int = 6,
    seed: int = 0,
) -> Report:
    """Check the gradient of the cross-entropy by every parameter of a model, and by the images.

    model             a layer (see `check_layer`) from images to logits (B, K), in float64
    images, labels    float64 array (B, ...), and integer labels (B,) or rows of probabilities (B, K)
    train             with True, dropout and stochastic depth are checked with fixed masks
    label_smoothing   of the loss
    jacobian_limit    tensors of at most so many elements are checked element by element; of larger ones, `samples`
                      elements and random directions, besides directions through all parameters at once

    Before the check every parameter is moved at random: with the zero head a Mixer starts from, the gradients of all
    the layers below vanish, and zero compares well with zero. The parameters come back bit for bit. A model whose
    backward returns None is checked by its parameters alone. The other arguments are those of `check_layer`.

    Returns a Report. Raises NotCheckableError as `check_layer` does.
    """
    started = time.perf_counter()
    name = name or type(model).__name__
    settings = Settings(tolerance, jacobian_limit, samples, seed)
    subject = ModelSubject(model, images, labels, train, label_smoothing, name, seed)
    with subject.views.kept():
        subject.perturb(stream(seed, "perturbation"))
        try:
            subject.find_image_gradient()
            conduct = conduct_rows(subject, seed) + layer_conduct_rows(subject, seed)
            rows = [*gradient_rows(subject, settings), joint_row(subject, samples, tolerance, seed), *conduct]
            if float32_twin is not None:
                narrow = ModelSubject(float32_twin, images, labels, train, label_smoothing, name, seed, "float32")
                with narrow.views.kept():
                    narrow.find_image_gradient()
                    rows += precision_rows(subject, narrow, seed)
        except WrongGradientsError as error:
            rows = [subject.row("gradients", float("nan"), note=str(error))]
    return Report(rows, time.perf_counter() - started)


class ModelSubject(LayerSubject):
    """A model and its loss, as a function of the images and of every parameter."""

    def __init__(
        self,
        model: Any,
        images: Any,
        labels: Any,
        train: bool,
        label_smoothing: float,
        name: str,
        seed: int,
        dtype: str = "float64",
    ) -> None:
        super().__init__(model, images, train, name, seed, dtype)
        if not is_array(labels):
            raise NotCheckableError(
                f"labels must be an array, (B,) integers or (B, K) floats, got {type(labels).__name__}"
            )
        if labels.shape[0] != images.shape[0]:
            raise NotCheckableError(f"expected a label per image, got {labels.shape[0]} for {images.shape[0]} images")
        self._labels = namespace(images).asarray(labels)
        self._label_smoothing = label_smoothing

    @property
    def shape(self) -> tuple[int, ...]:
        return self._x.shape

    def find_image_gradient(self) -> None:
        """Leave the images out where the model's backward returns None for them."""
        loss, cache = self.raw_forward(self.place(self._x))
        if self.raw_backward(namespace(self.place(self._x)).ones_like(loss), cache) is None:
            del self.inputs["x"]
            self.passed = ()

    def raw_forward(self, x: Any) -> tuple[Any, Any]:
        logits, model_cache = super().raw_forward(x)
        loss, loss_cache = softmax_cross_entropy_forward(logits, self._labels, self._label_smoothing)
        return loss, (model_cache, loss_cache)

    def raw_backward(self, dy: Any, cache: Any) -> Any:
        model_cache, loss_cache = cache
        return super().raw_backward(softmax_cross_entropy_backward(dy, loss_cache), model_cache)
