"""What all update rules share: weight decay on a choice of weights, clipping, the step count and the state."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from tinymixer.errors import CheckpointError, ConfigError, nearest
from tinymixer.optim.chunks import ParallelMap, chunks_of
from tinymixer.optim.clipping import clip, global_norm
from tinymixer.parameters import Parameters

DECAYS = ("matrices", "all", "none")


class Optimizer:
    """An update rule over the flat vectors of `parameters`.

    weight_decay   strength of the decay, 0 or more
    decay          which weights decay: "matrices" (neither biases nor LayerNorm's scale), "all" or "none"
    clip_norm      bound on the global norm of the gradients; None or 0 clips nothing

    A rule says what it keeps in `state` (name -> flat vector), which numbers change from step to step
    (`step_numbers`), and what it does with them to a chunk of the vectors (`update`): what it works out on the way is
    then as long as a chunk, not as the model. The numbers are worked out on the host and handed in, so a recorded GPU
    step can read them from device memory instead. Raises ConfigError for values out of range.
    """

    def __init__(
        self,
        parameters: Parameters,
        weight_decay: float = 0.0,
        decay: str = "matrices",
        clip_norm: float | None = None,
    ) -> None:
        if decay not in DECAYS:
            raise ConfigError(f"decay expects one of {', '.join(DECAYS)}, got '{decay}'.{nearest(str(decay), DECAYS)}")
        check_range("weight_decay", weight_decay, 0)
        check_range("clip_norm", clip_norm or 0, 0)
        self.parameters = parameters
        self.clip_norm = clip_norm
        self.steps = 0
        self.state: dict[str, Any] = {}
        chosen = parameters.mask(lambda name, shape: decay == "all" or (decay == "matrices" and len(shape) >= 2))
        self._decays, self._strength = chosen > 0, weight_decay  # (size,) booleans: a byte for every single weight

    def step(self, learning_rate: float, parallel_map: ParallelMap = map) -> Any:
        """Clip the gradients if asked to, then update the weights in place.

        parallel_map   a function like `map` by which chunks of the vectors are gone through, perhaps several at once

        Returns the global norm of the gradients before clipping, a 0-d array of the backend.
        """
        gradients = self.parameters.gradients
        norm = global_norm(gradients, parallel_map)
        if self.clip_norm:
            clip(gradients, norm, self.clip_norm)
        self.steps += 1
        numbers = self.step_numbers(learning_rate)

        def update(chunk: slice) -> None:
            self.update(chunk, self._decay_of(chunk), *numbers)

        for _ in parallel_map(update, chunks_of(gradients)):
            pass
        return norm

    @cached_property
    def weight_decay(self) -> Any:
        """The strength of the decay for every single weight (size,), for kernels that update all of them at once."""
        return self._decay_of(slice(None))

    def _decay_of(self, chunk: slice) -> Any:
        return self._decays[chunk].astype(self.parameters.dtype) * self._strength

    def step_numbers(self, learning_rate: float) -> tuple[float, ...]:
        """The numbers that change from step to step, for `update`."""
        return (learning_rate,)

    def update(self, chunk: slice, decay: Any, *numbers: Any) -> None:
        """Update a chunk of the weights and the state in place.

        decay (n,), the strength of the decay for each of the chunk's weights; the numbers may be 0-d arrays
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Host copies of the state, by name, and the step count under "steps"."""
        to_numpy = self.parameters.backend.to_numpy
        vectors = {name: np.array(to_numpy(vector)) for name, vector in self.state.items()}
        return vectors | {"steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` gave. Raises CheckpointError, before changing anything, where it does not fit."""
        if set(state) != set(self.state) | {"steps"}:
            raise CheckpointError(
                f"{type(self).__name__} keeps {', '.join([*self.state, 'steps'])}, but the checkpoint holds "
                f"{', '.join(state) or 'nothing'}: it comes from another optimizer"
            )
        for name, vector in self.state.items():
            if state[name].shape != vector.shape or state[name].dtype != vector.dtype:
                raise CheckpointError(
                    f"the optimizer's '{name}' should be {vector.dtype} of shape {vector.shape}, "
                    f"got {state[name].dtype} of shape {state[name].shape}"
                )
        if state["steps"].shape != () or state["steps"].dtype.kind != "i" or state["steps"] < 0:
            raise CheckpointError("the optimizer's 'steps' should be one whole number of 0 or more")
        for name, vector in self.state.items():
            vector[...] = self.parameters.backend.asarray(state[name])
        self.steps = int(state["steps"])


def check_range(name: str, value: float, minimum: float, below: float = float("inf")) -> None:
    """Raise ConfigError unless minimum <= value < below."""
    if not minimum <= value < below:
        bound = "" if below == float("inf") else f" and below {below:g}"
        raise ConfigError(f"{name} must be at least {minimum:g}{bound}, got {value!r}")
