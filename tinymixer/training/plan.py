"""The steps of a run: which images each takes, from the order of its epoch."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from tinymixer.data import epoch_order
from tinymixer.engines import Step


def planned_steps(
    indices: np.ndarray,
    batch_size: int,
    seed: int,
    learning_rate: Callable[[int], float],
    first: int = 0,
    mixed_steps: float = math.inf,
) -> Iterator[Step]:
    """A run's steps, epoch after epoch without end.

    indices         int64 (N,), the training images; each epoch leaves out what fills no batch
    learning_rate   of a step, by its number in the run
    first           number of the first step to yield, from 0
    mixed_steps     steps of the run, at its beginning, whose images are mixed where the recipe mixes any
    """
    per_epoch, order, of_epoch, number = len(indices) // batch_size, indices, -1, first
    while True:
        epoch, step = divmod(number, per_epoch)
        if epoch != of_epoch:
            order, of_epoch = indices[epoch_order(seed, epoch, len(indices))], epoch
        batch = order[step * batch_size : (step + 1) * batch_size]  # (B,)
        yield Step(batch, epoch, step, learning_rate(number), number < mixed_steps)
        number += 1
