"""The contract between a network and everything around it: training, recipes, checkpoints, evaluation, prediction."""

from typing import Any, ClassVar

from tinymixer.errors import ShapeError
from tinymixer.layers.layer import Layer


class Model(Layer):
    """A whole network, from images to logits. This is all that the rest of the package needs from it:

    config               its sizes, an `Options` dataclass with at least image_size, in_channels and num_classes
    parameters           values, gradients and buffers, as every layer has them
    forward              images (B, height, width, in_channels), normalised  ->  logits (B, K), cache
    backward             dlogits (B, K), cache  ->  dimages; parameter gradients are added
    update_buffers       cache  ->  None; writes the forward pass's new statistics into the buffers (see `Layer`)
    independent_images   True when an image's logits depend on that image alone, so that a batch may be computed in
                         slices. A subclass that defines its own `forward` must set it again: a value set only in a
                         class above that one does not count (see `has_independent_images`).
    meets_in_batch_norm  True when images depend on each other through `ops.batch_norm` alone, so that threads may each
                         compute a part of the batch if they share its sums. It counts as the one above does.

    A registered subclass (`tinymixer.models.register_model`) can be named in a recipe. An object of any other subclass
    can be passed to `Trainer`, `evaluate` and `load_model`.
    """

    config: Any
    independent_images: ClassVar[bool] = False
    meets_in_batch_norm: ClassVar[bool] = False

    def summary(self) -> str:
        """A table of layers, output shapes for one image, parameters and multiply-adds: `print(model.summary())`."""
        from tinymixer.models.summary import summary

        return summary(self)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass for one image, of matrix products and convolutions: counted in the layers."""
        from tinymixer.models.summary import layer_rows

        return sum(row.multiply_adds for row in layer_rows(self))

    def __repr__(self) -> str:
        parameters = self.parameters
        return f"{type(self).__name__}({self.config!r}: {parameters.count:,} parameters, {parameters.dtype})"

    def check_images(self, images: Any) -> None:
        """Raise ShapeError unless `images` has at least one image, and the size and dtype of the model."""
        config = self.config
        wanted = (config.image_size, config.image_size, config.in_channels)
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            raise ShapeError(f"expected images of shape (B, {', '.join(map(str, wanted))}), got {tuple(images.shape)}")
        if images.shape[0] == 0:
            raise ShapeError("expected at least one image, got none")
        if images.dtype != self.parameters.dtype and images.dtype.kind != "c":
            raise ShapeError(
                f"expected images in the model's dtype {self.parameters.dtype}, got {images.dtype}: "
                "normalise pixels with tinymixer.data.normalise(images, mean, std, dtype)"
            )


def has_independent_images(model: Any) -> bool:
    """Whether the model declares that it computes each image independently of the others in the batch.

    The declaration counts only if it is made in the class that defines `forward`, or in a subclass of it. Attributes of
    the object itself count as a subclass: a `forward` set on the object cancels what its class declares.
    """
    return _declares(model, "independent_images")


def meets_in_batch_norm(model: Any) -> bool:
    """Whether the model declares, in the same way, that images depend on each other through batch norm alone."""
    return _declares(model, "meets_in_batch_norm")


def _declares(model: Any, name: str) -> bool:
    for place in (getattr(model, "__dict__", {}), *map(vars, type(model).__mro__)):
        if name in place:
            return bool(place[name])
        if "forward" in place:
            return False
    return False
