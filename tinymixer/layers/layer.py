"""What all layers share: parameters, a backend, and the operations to use."""

from typing import Any

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.draws import Draws, place_of
from tinymixer.errors import ConfigError
from tinymixer.ops.array_library import Array
from tinymixer.ops.protocol import Operations
from tinymixer.parameters import Parameters, Specification


class Layer:
    """A layer holds parameters and composes operations; it keeps nothing of the data that passes through it.

    y, cache = layer.forward(x, train=False, rng=None)
    dx = layer.backward(dy, cache)          parameter gradients are added to `layer.parameters.gradients`
    layer.update_buffers(cache)             writes new statistics into `layer.parameters.buffers`, if it keeps any

    A layer used by itself makes its own parameters (keywords backend, dtype, seed, kernels). A layer inside a larger
    one gets a part of its parent's as `parameters`. With seed=None the values are zeros, to be loaded later.

    `ops` are the backend's operations; their mathematics stands in `tinymixer/ops/`.
    """

    def __init__(
        self,
        specification: Specification,
        *,
        parameters: Parameters | None = None,
        backend: str | Backend = "numpy",
        dtype: str = "float32",
        seed: int | np.random.Generator | None = 0,
        kernels: str = "auto",
    ) -> None:
        if parameters is None:
            parameters = Parameters(specification, get_backend(backend, kernels), dtype, seed)
        self.parameters = parameters

    @property
    def backend(self) -> Backend:
        return self.parameters.backend

    @property
    def ops(self) -> Operations:
        return self.parameters.backend.ops

    def forward(self, x: Any, train: bool = False, rng: Draws | None = None) -> tuple[Any, Any]:
        raise NotImplementedError

    def backward(self, dy: Any, cache: Any) -> Any:
        raise NotImplementedError

    def update_buffers(self, cache: Any) -> None:
        """Write the new statistics in a forward pass's cache (a batch's mean, say) into the buffers.

        `forward` itself never writes buffers, so calling it twice changes nothing; a training step calls this method
        once. A layer with parts calls it on each part, with the part's own cache. Most layers have no buffers.
        """

    def keep_mask(self, shape: tuple[int, ...], rate: float, rng: Draws | None, place: str, image_axis: int) -> Array:
        """A Bernoulli mask: True with probability 1 - rate, drawn at "<this layer's prefix>.<place>".

        image_axis   the axis of the shape that goes over the images. Raises ConfigError without `rng`
        """
        if rng is None:
            raise ConfigError("dropout and drop_path need random numbers in training: forward(x, train=True, rng=...)")
        name = place_of(self.parameters.prefix, place)
        if self.backend.name == "cupy":
            return rng.at(name, self.backend.xp).bernoulli(1 - rate, shape, image_axis)
        return self.backend.asarray(rng.at(name).bernoulli(1 - rate, shape, image_axis))
