"""The gradient check of a whole model with its loss."""

from typing import Any

from tinymixer.gradcheck.arrays import is_array
from tinymixer.gradcheck.gradients import Settings
from tinymixer.gradcheck.layer import LayerTarget, checked_layer
from tinymixer.gradcheck.report import NotCheckableError, Report
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
    vary: bool | None = None,
    nondeterminism: float = 1e-13,
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
    name = name or type(model).__name__
    target = ModelTarget(model, images, labels, train, label_smoothing, name, seed)
    settings = Settings(tolerance, jacobian_limit, samples, seed, vary, nondeterminism)

    def twin(other: Any) -> LayerTarget:
        return ModelTarget(other, images, labels, train, label_smoothing, name, seed, "float32")

    return checked_layer(target, settings, True, float32_twin, twin, joint=True)


class ModelTarget(LayerTarget):
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
        if not is_array(labels):
            raise NotCheckableError(
                f"labels must be an array, (B,) integers or (B, K) floats, got {type(labels).__name__}"
            )
        if is_array(images) and labels.shape[0] != images.shape[0]:
            raise NotCheckableError(f"expected a label per image, got {labels.shape[0]} for {images.shape[0]} images")
        self._labels = labels
        self._label_smoothing = label_smoothing
        self._gives_image_gradient = True
        super().__init__(model, images, train, name, seed, dtype)
        self._labels = namespace(images).asarray(labels)
        if not self._gives_image_gradient:
            del self.inputs["x"]
            self.passed = ()
            if not self.inputs:
                raise NotCheckableError(
                    f"nothing to check: the backward of {name} returns None, and no parameters were found"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return self._x.shape

    def cut_constants(self, part: tuple[slice, ...]) -> Any:
        labels = self._labels
        self._labels = labels[part[:1]]
        return labels

    def put_constants(self, constants: Any) -> None:
        self._labels = constants

    def raw_forward(self, x: Any) -> Any:
        result = super().raw_forward(x)
        if not isinstance(result, tuple) or len(result) != 2:
            return result  # which is said where pairs are taken apart
        logits, model_cache = result
        loss, loss_cache = softmax_cross_entropy_forward(logits, self._labels, self._label_smoothing)
        return loss, (model_cache, loss_cache)

    def raw_backward(self, dy: Any, cache: Any) -> Any:
        model_cache, loss_cache = cache
        dx = super().raw_backward(softmax_cross_entropy_backward(dy, loss_cache), model_cache)
        self._gives_image_gradient = dx is not None
        return dx
