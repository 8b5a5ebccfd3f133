"""What every layer has in common: parameters, a backend, and the operations to use."""

from typing import Any

import numpy as np

from tinymixer.backend import Backend, get_backend
from tinymixer.errors import ConfigError
from tinymixer.ops.protocol import Operations
from tinymixer.parameters import Parameters, Specification


class Layer:
    """A layer holds parameters and composes operations; it keeps nothing of the data that passes through it.

    y, cache = layer.forward(x, train=False, rng=None)
    dx = layer.backward(dy, cache)          parameter gradients are added to `layer.parameters.gradients`
    layer.update_buffers(cache)             writes new statistics into `layer.parameters.buffers`, if it keeps any

    A layer of its own makes its parameters (keywords backend, dtype, seed, kernels); a part of a larger one is handed
    a slice of its parent's through `parameters`. With seed=None its values are zeros, to be loaded.
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

    def forward(self, x: Any, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Any, Any]:
        raise NotImplementedError

    def backward(self, dy: Any, cache: Any) -> Any:
        raise NotImplementedError

    def update_buffers(self, cache: Any) -> None:
        """Write into the buffers what a forward pass found out and left in its cache (a batch's mean, say).

        `forward` itself never writes buffers: so a second forward pass moves nothing, and a training step calls this
        once. A layer with parts passes it on to each of them, with the part's own cache. Most layers have none to
        update.
        """

    def keep_mask(self, shape: tuple[int, ...], rate: float, rng: np.random.Generator | None) -> Any:
        """Throw the coins of a dropout mask: True with probability 1 - rate."""
        if rng is None:
            raise ConfigError("dropout and drop_path need random numbers in training: forward(x, train=True, rng=...)")
        return self.backend.random(rng, shape) >= rate
