"""Muon: matrices move by the orthogonal factor of their momentum, everything else by AdamW."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import sqrt
from typing import Any, Self

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.ops.array_library import Array, namespace
from tinymixer.optim.adamw import AdamW
from tinymixer.optim.chunks import ParallelMap
from tinymixer.optim.groups import ParameterGroup, decays
from tinymixer.optim.newton_schulz import FIVE_STEPS, THREE_STEPS, newton_schulz
from tinymixer.optim.optimizer import check_range
from tinymixer.parameters import Parameters

MATRICES = ("blocks.*", "stages.*.weight")  # of Mixers and Vision Transformers, and of convolutional networks
ITERATIONS = {3: THREE_STEPS, 5: FIVE_STEPS}
UPDATE_SIZE = 0.2  # root mean square of an update's elements, about that of AdamW's
STACK = 4  # matrices that NumPy works on at a time, so that threads can share them; other libraries take all at once


class Muon(AdamW):
    """Momentum, orthogonalised (Jordan 2024), for the blocks' matrices and kernels; AdamW for all other parameters.

    A gradient matrix has few large singular values and many small ones, so gradient descent moves along few directions.
    The orthogonal factor of the momentum moves along all of them equally far:

        velocity = momentum * velocity + gradient
        direction = U V^T,  where  U diag(s) V^T = gradient + momentum * velocity        (Nesterov; `newton_schulz`)
        w = w - learning_rate * weight_decay * w
        w = w - learning_rate * 0.2 * sqrt(max(rows, columns)) * direction

    The elements of U V^T have a root mean square of 1 / sqrt(max(rows, columns)), so an update's is 0.2, which is what
    AdamW's updates usually have: one learning rate and one weight decay serve both rules (Liu et al. 2025, arXiv
    2502.16982, section 2.2). The kernel of a convolution, (kh, kw, I, O), is the matrix (kh*kw*I, O) that it multiplies
    windows with.

    matrices    patterns of the names of the matrices that Muon updates; a `ParameterGroup` with a `rule` decides first
    momentum    share of the last velocity that is kept
    iterations  Newton-Schulz steps, 3 or 5
    betas, eps  of AdamW; the rest as in `Optimizer`. A matrix keeps its velocity where AdamW keeps the mean

    Raises ConfigError for values out of range, and where there is no matrix to update.
    """

    def __init__(
        self,
        parameters: Parameters,
        momentum: float = 0.95,
        iterations: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay: str = "matrices",
        clip_norm: float | None = None,
        groups: Sequence[ParameterGroup] = (),
        matrices: Sequence[str] = MATRICES,
    ) -> None:
        check_range("momentum", momentum, 0, below=1)
        if iterations not in ITERATIONS:
            raise ConfigError(f"iterations of Newton-Schulz are 3 or 5, got {iterations!r}")
        self.momentum, self.iterations, self.matrices = momentum, iterations, tuple(matrices)
        super().__init__(parameters, betas, eps, weight_decay, decay, clip_norm, groups)
        self._velocities = parameters.views_of(self.state["mean"])
        self._stacks = self._stacks_of_one_shape()
        if not self._stacks:
            raise ConfigError(
                f"Muon updates matrices, and no trained one has a name that fits {' or '.join(map(repr, matrices))}: "
                "use optimizer = 'adamw'"
            )

    def over(self, parameters: Parameters) -> Self:
        made = super().over(parameters)
        made._velocities = parameters.views_of(made.state["mean"])
        made._stacks = made._stacks_of_one_shape()
        return made

    def updates_matrix(self, name: str, shape: tuple[int, ...], rule: str | None) -> bool:
        if len(shape) not in (2, 4):
            if rule == "muon":
                raise ConfigError(f"rule = 'muon' is for matrices and kernels, and '{name}' has the shape {shape}")
            return False
        return rule == "muon" if rule else any(fnmatchcase(name, pattern) for pattern in self.matrices)

    def update_matrices(self, learning_rate: float, parallel_map: ParallelMap = map) -> None:
        for _ in parallel_map(lambda stack: self._update_stack(stack, learning_rate), self._stacks):
            pass

    def directions(self, matrices: Any) -> Any:
        """What the weights move along, for matrices (n, rows, columns): their orthogonal factors, nearly."""
        return newton_schulz(matrices, ITERATIONS[self.iterations])

    def _stacks_of_one_shape(self) -> list["Stack"]:
        """The matrices in stacks of one shape, learning rate and decay."""
        alike: dict[tuple[Any, ...], list[str]] = {}
        for segment in self._segments:
            if segment.matrix is not None:
                shape = self.parameters.shape(segment.matrix)
                decay = segment.weight_decay if decays(shape, self.decay) else 0.0
                key = (shape, segment.learning_rate_factor, decay)
                alike.setdefault(key, []).append(segment.matrix)
        at_once = STACK if namespace(self.parameters.values) is np else len(self.parameters.names)
        return [
            Stack(names[i : i + at_once], factor, decay)
            for (_, factor, decay), names in alike.items()
            for i in range(0, len(names), at_once)
        ]

    def _update_stack(self, stack: "Stack", learning_rate: float) -> None:
        rate, xp = learning_rate * stack.learning_rate_factor, namespace(self.parameters.values)
        looked_ahead = []
        for name in stack.names:
            gradient, velocity = _matrix(self.parameters.gradient(name)), _matrix(self._velocities[name])
            velocity *= self.momentum
            velocity += gradient
            looked_ahead.append(gradient + self.momentum * velocity)
        directions = self.directions(xp.stack(looked_ahead))  # (n, rows, columns)
        size = rate * UPDATE_SIZE * sqrt(max(directions.shape[1:]))
        for i, name in enumerate(stack.names):
            weight = _matrix(self.parameters[name])  # (rows, columns)
            weight *= 1 - rate * stack.weight_decay
            weight -= size * directions[i]


def _matrix(array: Array) -> Array:
    """A view of a parameter as a matrix: a kernel (kh, kw, I, O) as (kh*kw*I, O)."""
    return array.reshape(-1, array.shape[-1])


@dataclass(frozen=True)
class Stack:
    """Matrices of one shape that are updated together."""

    names: list[str]
    learning_rate_factor: float
    weight_decay: float
