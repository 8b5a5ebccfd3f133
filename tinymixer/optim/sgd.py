"""Stochastic gradient descent with momentum."""

from collections.abc import Sequence
from typing import Any

from tinymixer.errors import ConfigError
from tinymixer.ops.array_library import namespace
from tinymixer.optim.groups import ParameterGroup
from tinymixer.optim.optimizer import Optimizer, check_range
from tinymixer.parameters import Parameters


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964), Nesterov's by choice, in the form of Sutskever et al. 2013 that
    PyTorch uses:

        g = gradient + weight_decay * w
        velocity = momentum * velocity + g
        w = w - learning_rate * velocity              Nesterov: g + momentum * velocity in place of velocity

    With `decoupled=True` the decay is not part of the velocity; it shrinks the weights directly
    (SGDW, Loshchilov and Hutter 2019, algorithm 1): w = w - learning_rate * weight_decay * w, before the update.

    Raises ConfigError for values out of range, and for Nesterov without momentum.
    """

    def __init__(
        self,
        parameters: Parameters,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: str = "matrices",
        clip_norm: float | None = None,
        decoupled: bool = False,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(parameters, weight_decay, decay, clip_norm, groups)
        check_range("momentum", momentum, 0, below=1)
        if nesterov and momentum == 0:
            raise ConfigError("Nesterov's look-ahead needs a momentum above 0")
        self.momentum, self.nesterov, self.decoupled = momentum, nesterov, decoupled
        self.state = {"velocity": namespace(parameters.values).zeros_like(parameters.values)}  # (size,)

    def update(self, chunk: slice, decay: Any, learning_rate: Any) -> None:
        values, gradients = self.parameters.values[chunk], self.parameters.gradients[chunk]  # (n,)
        velocity = self.state["velocity"][chunk]  # (n,)
        if self.decoupled:
            values -= learning_rate * (decay * values)
        else:
            gradients = gradients + decay * values
        velocity *= self.momentum
        velocity += gradients
        values -= learning_rate * (gradients + self.momentum * velocity if self.nesterov else velocity)
