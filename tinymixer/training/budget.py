"""A budget of seconds: how many steps fit into it.

`[training] seconds` counts from the command to the test figure. What was spent is known when training begins, what a
step, a validation, a checkpoint, a picture and the test cost is measured (`measuring.py`), and the largest number of
steps that fits into the rest becomes the run's length. From there it is a run like any other.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tinymixer.errors import TrainingError
from tinymixer.text import counted
from tinymixer.training.reports import SECONDS_BETWEEN_PICTURES

RESERVE = 0.02  # share of the budget that is kept free: see `Budget`
SAVING = 0.02  # share of the time that checkpoints after epochs may take in a run with a budget


@dataclass(frozen=True)
class Costs:
    """What the parts of a run take, in seconds.

    step      a training step
    validate  the validation after an epoch; 0 without validation images
    save      a checkpoint: one before the first step, and last.npz after epochs, as `SavingPace` allows
    best      whether best.npz is written, too: after each epoch, since each may be the best so far
    every     steps between checkpoints within epochs; 0 for none
    picture   the learning curves, about every minute and at the end
    test      the test at the end
    """

    step: float
    validate: float = 0.0
    save: float = 0.0
    best: bool = False
    every: int = 0
    picture: float = 0.0
    test: float = 0.0

    def seconds_of(self, steps: int, steps_per_epoch: int) -> float:
        """The time from the first checkpoint, before any step, to the last picture of a run of so many steps."""
        epochs = -(-steps // steps_per_epoch)
        others = 1 + self.best * epochs + (steps // self.every if self.every else 0)
        seconds = steps * self.step + epochs * self.validate + others * self.save
        seconds += min(epochs * self.save, SAVING * seconds + self.save)
        pictures = 1 + int(seconds / (SECONDS_BETWEEN_PICTURES + self.picture))
        return seconds + pictures * self.picture + self.test

    def steps_within(self, seconds: float, steps_per_epoch: int) -> int:
        """The largest number of steps that takes at most so many seconds; 0 where not even one does."""
        fitting, too_many = 0, int(max(0.0, seconds) / self.step) + 1
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            if self.seconds_of(middle, steps_per_epoch) <= seconds:
                fitting = middle
            else:
                too_many = middle
        return fitting


class SavingPace:
    """Decides after which epochs last.npz is written.

    limited   whether checkpoints after epochs may take no more than `SAVING` of the time, as where a run has a budget.
              Epochs of half a second on a GPU would lose as much again by a checkpoint after each. What is not saved is
              computed again after a crash; a run that is asked to stop saves in any case
    clock     returns seconds
    """

    def __init__(self, limited: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limited, self._clock = limited, clock
        self._next = -math.inf

    def is_due(self) -> bool:
        """Whether the last checkpoint is long enough ago."""
        return not self.limited or self._clock() >= self._next

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """The block writes a checkpoint; the longer it takes, the later the next one is due."""
        started = self._clock()
        yield
        ended = self._clock()
        self._next = ended + (ended - started) / SAVING


class Budget:
    """A number of seconds, and the clock that counts them.

    seconds   of the budget
    started   when it began, on `clock`; None: now
    clock     returns seconds

    The whole budget is meant to be used, and being late is worse than being early: `RESERVE` of it stays free. The mean
    of 20 steps is off by one or two hundredths from that of thousands, since a processor's speed wavers that much.
    """

    def __init__(
        self, seconds: float, started: float | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds, self.clock = seconds, clock
        self.started = clock() if started is None else started

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.started

    def steps(self, costs: Costs, steps_per_epoch: int) -> int:
        """The number of steps that fits into what is left. Raises TrainingError where not even one does."""
        spent = self.spent
        steps = costs.steps_within(self.seconds * (1 - RESERVE) - spent, steps_per_epoch)
        if not steps:
            after = costs.seconds_of(1, steps_per_epoch)
            needed = math.ceil((spent + after) / (1 - RESERVE))
            raise TrainingError(
                f"no training step fits into {self.seconds:g} seconds: {spent:.1f} s went by before the first, and one "
                f"step, with checkpoints, evaluation and the learning curves, takes {after:.1f} s more; give --seconds "
                f"{needed} for one step, and more for a useful run"
            )
        return steps

    def how_it_was_met(self) -> str:
        """Says how much of it was used, once the test is done."""
        return f"{self.spent:.1f} of {self.seconds:g} seconds were used, from the command to the test figure"

    def sentence(self, costs: Costs, steps: int, steps_per_epoch: int) -> str:
        """Says how many steps fit, and what else takes much of the time."""
        ours = costs.seconds_of(steps, steps_per_epoch)
        training = steps * costs.step
        share = f", {100 * training / self.seconds:.0f} % of the time" if training < 0.8 * self.seconds else ""
        return (
            f"{counted(steps, 'step')} of {_duration(costs.step)} fit into {self.seconds:g} seconds{share} "
            f"({self.spent:.1f} s before the first step, {ours - training:.1f} s for checkpoints, evaluation and "
            "learning curves)"
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
