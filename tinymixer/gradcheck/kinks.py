"""Points without a derivative: ReLU at 0, a maximum over equal numbers. Which gradients are right there?

At a kink no difference of the forward can say which gradient is the right one. But it can say which are wrong: along
any direction a right one lies between the slopes found on the left, on the right, and at points nearby. Slopes nearby
are needed for ties of three and more (the median of three equal numbers has one slope along every direction, and yet
three gradients to choose from). Along directions through many elements at once the same rule sees what no single
element shows: a maximum over two equal numbers may hand its gradient to either, or half to each, but not to both.
"""

from dataclasses import dataclass

import numpy as np

from tinymixer.gradcheck.differences import power_of_two
from tinymixer.gradcheck.scale import Path, Steps, own_sizes

DRAWS = 24  # points nearby; one of n equal numbers is the chosen one in 1 of n
SLACK = 1e-4  # of the slopes, which are one-sided differences with a step of 2^-18


@dataclass
class Slopes:
    """For each output the smallest and the largest slope found, and whether they differ for good: a kink."""

    low: np.ndarray
    high: np.ndarray
    kink: np.ndarray

    def accepts(self, claimed: np.ndarray) -> np.ndarray:
        """For each output, whether it has a kink here and the claimed derivative lies between its slopes."""
        slack = SLACK * np.maximum(abs(self.low), abs(self.high))
        return self.kink & (self.low - slack <= claimed) & (claimed <= self.high + slack)


def slopes_around(path: Path, noise: np.ndarray, generator: np.random.Generator, draws: int = DRAWS) -> Slopes:
    """The slopes along a path: to the left, to the right and, with `draws`, at points nearby."""
    inputs = path.target.inputs
    shifts: list[Steps] = [
        {name: own_sizes(inputs[name]) * generator.standard_normal(inputs[name].shape) for name in path.steps}
        for _ in range(draws)
    ]
    middle = path(0.0)
    widths = []
    with np.errstate(all="ignore"):
        for closeness in (2.0**-14, 2.0**-18):
            step = power_of_two(path.magnitude) * closeness
            found = [(middle - path(-step)) / step, (path(step) - middle) / step]
            short = step / 64
            for shift in shifts:
                near = {name: closeness * array for name, array in shift.items()}
                found.append((path.beside(near, short) - path.beside(near, -short)) / (2 * short))
            low, high = np.min(found, axis=0), np.max(found, axis=0)
            widths.append(high - low)
        # A curve's slopes grow alike as the step shrinks by sixteen, and those of a jump apart; those of a kink stay.
        stays = (widths[1] > 0.5 * widths[0]) & (widths[1] < 4 * widths[0])
        kink = stays & (widths[1] > 1e-3 * np.maximum(abs(low), abs(high))) & (widths[1] > 64 * noise / short)
    return Slopes(low, high, kink)
