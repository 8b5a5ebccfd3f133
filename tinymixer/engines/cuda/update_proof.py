"""Holds the updates of a fused step's proof to the optimizer in float64: weights, Muon's momentum, averaged weights.

The optimizer gets the fused step's own gradients, so only the update is compared. Muon's directions are an exception to
the close agreement of the others: Newton-Schulz in 16 bits raises roundings along small singular values like everything
else along them, up to 485 times (3.4445^5). How far that moves a direction depends on the matrix. So the host iterates
with the device's roundings as well, in several ways that are as good, and `bounds.py` judges by their errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tinymixer.engines.cuda.bounds import FACTOR, Comparison, compare, compare_change
from tinymixer.engines.cuda.rounded_layers import Rounding
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.ops.array_library import Array
from tinymixer.optim import Muon, Optimizer, WeightAverage
from tinymixer.optim.muon import ITERATIONS
from tinymixer.optim.newton_schulz import TINY
from tinymixer.parameters import Parameters

UPDATE_TOLERANCE = 1e-3  # AdamW's corrections 1 - beta^t have 4 digits in float32

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Update:
    """What an update did, by name: weights before and after it, the gradients, and what it left of Muon's momentum and
    of the averaged weights ({} where there are none)."""

    before: Arrays
    after: Arrays
    gradients: Arrays
    momentum: Arrays
    averages: Arrays


class RoundedMuon(Muon):
    """A Muon whose Newton-Schulz iteration rounds where `DeviceMuon` does, in float32."""

    rounding: Rounding

    def directions(self, matrices: Array) -> Array:
        factor, result = self.rounding.factors, self.rounding.results
        tall = matrices.shape[1] > matrices.shape[2]
        x = (matrices.transpose(0, 2, 1) if tall else matrices).astype(np.float32)  # (n, rows, columns)
        x = result(x / (np.sqrt((x * x).sum(axis=(1, 2), keepdims=True)) + np.float32(TINY)))
        unit = np.eye(x.shape[1], dtype=np.float32)
        for a, b, c in ITERATIONS[self.iterations]:
            gram = result(factor(x) @ factor(x).transpose(0, 2, 1))  # (n, rows, rows)
            square = factor(gram) @ factor(gram)
            x = result(factor(result((a * unit + b * gram + c * square).astype(np.float32))) @ factor(x))
        return (x.transpose(0, 2, 1) if tall else x).astype(matrices.dtype)


def compare_updates(
    config: MixerConfig,
    optimizer: Optimizer,
    roundings: list[Rounding],
    average: WeightAverage | None,
    updates: list[Update],
    learning_rate: float,
) -> Iterator[Comparison]:
    """How the weights changed, beside the optimizer in float64 on the host, given the fused step's own gradients.

    roundings   of the precision, in ways that are as good
    average     which the run updates; in the proof every step does
    """
    exact = _Host(config, optimizer)
    rounded = [_Host(config, optimizer, rounding) for rounding in roundings] if isinstance(optimizer, Muon) else []
    averages = {name: array.astype(np.float64) for name, array in updates[0].before.items()}
    for number, update in enumerate(updates):
        wanted, others = exact.take(update, learning_rate), [host.take(update, learning_rate) for host in rounded]
        where = f", step {number + 1}"
        for name, after in wanted.items():
            before, found, what = update.before[name], update.after[name], f"update of {name}{where}"
            if name not in update.momentum:
                yield compare_change(what, before, found, after, UPDATE_TOLERANCE)
                continue
            change = after - before
            least = (UPDATE_TOLERANCE * np.linalg.norm(change) + 2.0**-23 * np.linalg.norm(after)) / FACTOR
            yield from compare(
                what, found - before, change, [other[name] - before for other in others], float(least), after.size
            )
            momentum, zero = exact.momentum()[name], np.zeros_like(after)
            yield compare_change(f"momentum of {name}{where}", zero, update.momentum[name], momentum, UPDATE_TOLERANCE)
        for name, found in update.averages.items():
            assert average is not None
            before = averages[name]
            averages[name] = before + average.share(number + 1) * (update.after[name] - before)
            yield compare_change(f"average of {name}{where}", before, found, averages[name], UPDATE_TOLERANCE)


class _Host:
    """The optimizer on the host, in float64; with a rounding, Muon's iteration has it."""

    def __init__(self, config: MixerConfig, optimizer: Optimizer, rounding: Rounding | None = None) -> None:
        model = MlpMixer(config, backend="numpy", dtype="float64", seed=None, kernels="reference")
        self._parameters: Parameters = model.parameters
        self._rule = cast(Any, optimizer.over(self._parameters))
        if rounding is not None:
            self._rule.__class__, self._rule.rounding = RoundedMuon, rounding

    def take(self, update: Update, learning_rate: float) -> Arrays:
        """The weights after an update."""
        parameters = self._parameters
        parameters.load({name: weight.astype(np.float64) for name, weight in update.before.items()})
        parameters.load(update.gradients, into=parameters.gradients)
        self._rule.step(learning_rate)
        return parameters.to_numpy()

    def momentum(self) -> Arrays:
        return self._parameters.to_numpy(self._rule.state["mean"])
