"""Adam with decoupled weight decay."""

from collections.abc import Sequence
from typing import Any

from tinymixer.ops.array_library import namespace
from tinymixer.optim.groups import ParameterGroup
from tinymixer.optim.optimizer import Optimizer, check_range
from tinymixer.parameters import Parameters


class AdamW(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).
    At step t, counted from 1:

        mean   = beta1 * mean   + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient^2
        w = w - learning_rate * weight_decay * w
        w = w - learning_rate * (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + eps)

    Both averages start at zero, so after t steps their weights sum to 1 - beta^t only; the division corrects that.
    Raises ConfigError for values out of range.
    """

    def __init__(
        self,
        parameters: Parameters,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        decay: str = "matrices",
        clip_norm: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(parameters, weight_decay, decay, clip_norm, groups)
        for name, beta in zip(("beta1", "beta2"), betas, strict=True):
            check_range(name, beta, 0, below=1)
        check_range("eps", eps, 0)
        self.betas, self.eps = betas, eps
        zeros_like = namespace(parameters.values).zeros_like
        self.state = {"mean": zeros_like(parameters.values), "square": zeros_like(parameters.values)}  # (size,) each

    def step_numbers(self, learning_rate: float) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        return learning_rate, 1 - beta1**self.steps, 1 - beta2**self.steps

    def update(
        self, chunk: slice, decay: Any, learning_rate: Any, mean_correction: Any, square_correction: Any
    ) -> None:
        xp = namespace(self.parameters.values)
        beta1, beta2 = self.betas
        values, gradients = self.parameters.values[chunk], self.parameters.gradients[chunk]  # (n,)
        mean, square = self.state["mean"][chunk], self.state["square"][chunk]  # (n,)
        mean *= beta1
        mean += (1 - beta1) * gradients
        square *= beta2
        square += (1 - beta2) * (gradients * gradients)
        values -= learning_rate * (decay * values)
        values -= learning_rate * (mean / mean_correction) / (xp.sqrt(square / square_correction) + self.eps)
