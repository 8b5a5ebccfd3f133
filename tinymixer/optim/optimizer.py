"""What all update rules share: weight decay of chosen weights, clipping, the step count and the state."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tinymixer.errors import CheckpointError, ConfigError, nearest
from tinymixer.optim.agc import clip_adaptively
from tinymixer.optim.chunks import ParallelMap
from tinymixer.optim.clipping import clip, global_norm
from tinymixer.optim.groups import ParameterGroup, Segment, Setting, decays, segments_of
from tinymixer.parameters import Parameters

DECAYS = ("matrices", "all", "none")


class Optimizer:
    """An update rule over the flat vectors of `parameters`.

    weight_decay   strength of the decay, 0 or more
    decay          which weights decay: "matrices" (neither biases nor LayerNorm's scale), "all" or "none"
    clip_norm      bound on the global norm of the gradients; None or 0 clips nothing
    groups         parameters with settings of their own (`ParameterGroup`); the first that matches a name counts

    `agc`, set on the object, is the factor of adaptive gradient clipping (`optim/agc.py`); 0 clips nothing so.

    A subclass defines `state` (name -> flat vector), the numbers that change from step to step (`step_numbers`), and
    how they update a chunk of the vectors (`update`). Its temporary arrays are then as long as a chunk, not as the
    model. A rule that needs whole matrices says which (`updates_matrix`) and updates them (`update_matrices`).
    The host computes the numbers and passes them to `update`; a captured GPU step reads them from device memory
    instead. Raises ConfigError for values out of range, and for a group that no parameter belongs to.
    """

    agc: float = 0.0

    def __init__(
        self,
        parameters: Parameters,
        weight_decay: float = 0.0,
        decay: str = "matrices",
        clip_norm: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        if decay not in DECAYS:
            raise ConfigError(f"decay expects one of {', '.join(DECAYS)}, got '{decay}'.{nearest(str(decay), DECAYS)}")
        check_range("weight_decay", weight_decay, 0)
        check_range("clip_norm", clip_norm or 0, 0)
        self.parameters = parameters
        self.decay, self.clip_norm = decay, clip_norm
        self.steps = 0
        self.state: dict[str, Any] = {}
        self.groups = tuple(groups)
        self._segments = segments_of(parameters, self.groups, weight_decay, decay, self.updates_matrix)
        self._elementwise = [segment for segment in self._segments if segment.matrix is None]
        self._decays = parameters.mask(lambda name, shape: decays(shape, decay), bool)  # (size,) a byte per weight

    def step(self, learning_rate: float, parallel_map: ParallelMap = map, norm: Any = None) -> Any:
        """Clip the gradients if asked to, then update the weights in place.

        parallel_map   a function like `map` that may update several chunks of the vectors at once
        norm           what `gradient_norm` returned for these gradients, where the caller has asked already

        Returns the global norm of the gradients before clipping, a 0-d array of the backend.
        """
        gradients = self.parameters.gradients
        if norm is None:
            norm = self.gradient_norm(parallel_map)
        if self.clip_norm:
            for segment in self._segments:
                clip(gradients[segment.span], norm, self.clip_norm)
        if self.agc:
            clip_adaptively(self.parameters, self.agc)
        self.steps += 1
        numbers = {
            factor: self.step_numbers(learning_rate * factor)
            for factor in {segment.learning_rate_factor for segment in self._segments}
        }

        def update(chunk_of_segment: tuple[Segment, slice]) -> None:
            segment, chunk = chunk_of_segment
            self.update(chunk, self._decay_of(chunk, segment), *numbers[segment.learning_rate_factor])

        pairs = ((segment, chunk) for segment in self._elementwise for chunk in segment.chunks())
        for _ in parallel_map(update, pairs):
            pass
        self.update_matrices(learning_rate, parallel_map)
        return norm

    def gradient_norm(self, parallel_map: ParallelMap = map) -> Any:
        """The global norm of the gradients, frozen parameters left out: a 0-d array of the backend."""
        return global_norm(self.parameters.gradients, parallel_map, self.trained_chunks())

    def trained_chunks(self) -> Iterator[slice]:
        """The slices of the flat vectors that are trained, a chunk at a time."""
        return (chunk for segment in self._segments for chunk in segment.chunks())

    def over(self, parameters: Parameters) -> Self:
        """The same rule and settings for other parameters of the same names and shapes, before its first step.

        They may lie on another backend and have another dtype.
        """
        made = copy.copy(self)
        xp, decays = parameters.backend.xp, self.parameters.backend.to_numpy(self._decays)
        made.parameters, made.steps, made._decays = parameters, 0, parameters.backend.asarray(decays)
        made.state = {name: xp.zeros(parameters.values.shape, dtype=parameters.dtype) for name in self.state}
        return made

    def setting_of(self, name: str) -> Setting | None:
        """How the parameter of that name is updated; None where it is frozen."""
        start = self.parameters.span_of(name).start
        for segment in self._segments:
            if segment.start <= start < segment.stop:
                strength = segment.weight_decay if decays(self.parameters.shape(name), self.decay) else 0.0
                return Setting(segment.learning_rate_factor, strength, segment.matrix is not None)
        return None

    def _decay_of(self, chunk: slice, segment: Segment) -> Any:
        return self._decays[chunk].astype(self.parameters.dtype) * segment.weight_decay

    def step_numbers(self, learning_rate: float) -> tuple[float, ...]:
        """The numbers that change from step to step, for `update`."""
        return (learning_rate,)

    def update(self, chunk: slice, decay: Any, *numbers: Any) -> None:
        """Update a chunk of the weights and the state in place.

        decay (n,), the strength of the decay for each of the chunk's weights; the numbers may be 0-d arrays
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def updates_matrix(self, name: str, shape: tuple[int, ...], rule: str | None) -> bool:
        """Whether the rule needs this parameter as a matrix; `update_matrices` then updates it.

        rule   of the parameter's group. Raises ConfigError for one that this optimizer has not
        """
        if rule is not None:
            raise ConfigError(f"rule = '{rule}' in a parameter group needs optimizer = 'muon', which has two rules")
        return False

    def update_matrices(self, learning_rate: float, parallel_map: ParallelMap = map) -> None:
        """Update the parameters that the rule needs as matrices, in place; by default there are none."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Host copies of the state, by name, and the step count under "steps"."""
        to_numpy = self.parameters.backend.to_numpy
        vectors = {name: np.array(to_numpy(vector)) for name, vector in self.state.items()}
        return vectors | {"steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Load what `state_dict` returned. Raises CheckpointError where it does not fit; then nothing has changed."""
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
