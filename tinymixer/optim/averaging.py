"""An average of the weights of the last steps, which generalises better than the weights of any one step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.errors import CheckpointError
from tinymixer.npz import below
from tinymixer.optim.chunks import ParallelMap, chunks_of
from tinymixer.optim.optimizer import check_range
from tinymixer.parameters import Parameters

RISE = 50  # updates after which an average that still grows longer keeps half of itself


class WeightAverage:
    """The exponential moving average of a model's weights and buffers (Polyak and Juditsky 1992; Tarvainen and Valpola
    2017 call it a mean teacher). Its n-th update, n = 1, 2, ..., is

        average = average + (1 - d) * (w - average),        d = min(decay, n / (n + 50))

    so after n updates it remembers about n / 50 of them, until that reaches 1 / (1 - decay): in a run of fewer than
    50 / (1 - decay) updates the decay itself never counts.

    parameters   whose weights are averaged; the average starts as a copy of them
    decay        share of the average that an update keeps, below 1
    every        steps of training between two updates: averaging every fifth step costs a fifth, and gives the same
                 average as every step with the fifth root of decay, nearly

    Raises ConfigError for values out of range.
    """

    def __init__(self, parameters: Parameters, decay: float = 0.999, every: int = 5) -> None:
        check_range("decay", decay, 0, below=1)
        check_range("every", every, 1)
        self.parameters, self.decay, self.every = parameters, decay, every
        self.values, self.buffers = parameters.values.copy(), parameters.buffers.copy()  # (size,) each
        self.updates = 0

    def step(self, steps: int, parallel_map: ParallelMap = map) -> None:
        """Update the average if it is due after so many steps of training."""
        if steps % self.every:
            return
        self.updates += 1
        share = self.share(self.updates)
        for average, current in self._pairs():

            def update(chunk: slice, average: Any = average, current: Any = current) -> None:
                average[chunk] += share * (current[chunk] - average[chunk])

            for _ in parallel_map(update, chunks_of(average)):
                pass

    def share(self, number: int) -> float:
        """1 - d of the update of that number, counted from 1."""
        return 1 - min(self.decay, number / (number + RISE))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model has the averaged weights and buffers; after it, its own, bit for bit."""
        kept = [current.copy() for _, current in self._pairs()]
        try:
            for average, current in self._pairs():
                current[...] = average
            yield
        finally:
            for (_, current), own in zip(self._pairs(), kept, strict=True):
                current[...] = own

    def _pairs(self) -> list[tuple[Any, Any]]:
        return [(self.values, self.parameters.values), (self.buffers, self.parameters.buffers)]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Host copies: "parameters/<name>", "buffers/<name>" of the average, and the number of updates, "updates"."""
        parameters = self.parameters
        weights = {f"parameters/{name}": array for name, array in parameters.to_numpy(self.values).items()}
        buffers = {f"buffers/{name}": array for name, array in parameters.buffers_to_numpy(self.buffers).items()}
        return weights | buffers | {"updates": np.array(self.updates, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Load what `state_dict` returned. Raises CheckpointError where it does not fit this model."""
        updates = state.get("updates")
        if updates is None or updates.shape != () or updates.dtype.kind != "i" or updates < 0:
            raise CheckpointError("the average of the weights has no whole number of updates")
        parameters = self.parameters
        with self.applied():  # on an error the model, and the average, stay what they were
            parameters.load(below("parameters/", state))
            parameters.load_buffers(below("buffers/", state))
            self.values[...], self.buffers[...] = parameters.values, parameters.buffers  # in place: kernels know where
        self.updates = int(updates)
