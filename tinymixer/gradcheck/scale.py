"""How large things are where a target is checked: inputs, outputs, rounding. Steps and tolerances follow from that."""

import numpy as np

from tinymixer.gradcheck.arrays import largest
from tinymixer.gradcheck.differences import power_of_two
from tinymixer.gradcheck.target import Target

LAST_BIT = float(np.finfo(np.float64).eps)
LAST_BIT_32 = float(np.finfo(np.float32).eps)
Steps = dict[str, np.ndarray]


class Path:
    """The outputs (flat) as a function of t, with inputs moved by t along a step of each."""

    def __init__(self, target: Target, steps: Steps, magnitude: float = 1.0) -> None:
        self.target, self.steps, self.magnitude = target, steps, magnitude

    def __call__(self, t: complex) -> np.ndarray:
        return self.target.output(
            {name: self.target.inputs[name] + t * step for name, step in self.steps.items()}
        ).ravel()

    def beside(self, shift: Steps, t: float) -> np.ndarray:
        """The same with all of these inputs shifted first."""
        moved = {name: self.target.inputs[name] + shift[name] + t * step for name, step in self.steps.items()}
        return self.target.output(moved).ravel()


def element_path(target: Target, name: str, index: int, size: float) -> Path:
    """The path along which one element alone moves."""
    step = np.zeros(target.inputs[name].shape)
    step.flat[index] = 1.0
    return Path(target, {name: step}, size)


def element_sizes(host: np.ndarray) -> np.ndarray:
    """How large each element is taken to be when a step is chosen: its own size, or the mean of all if larger."""
    size = abs(host).ravel()
    mean = float(size.mean()) if size.size else 0.0
    return np.maximum(size, mean) if mean else np.ones(host.size)


def own_sizes(host: np.ndarray) -> np.ndarray:
    """The size of each element, that of zeros being the mean of all; shaped like the array."""
    return np.where(host == 0, element_sizes(host).reshape(host.shape), abs(host))


def output_size(target: Target, name: str, weights: np.ndarray | float = 1.0) -> float:
    """How large weighted outputs are here, or would be at the mirrored input: so far a derivative times x may reach.

    The loss of a sample far on the right side is nearly 0, by the cancellation of numbers that are not.
    """
    mirrored = target.mirrored(name)
    size = max(largest(weights * target.base), largest(weights * mirrored))
    return size or 1.0  # an output that is 0 everywhere says nothing: rounding of numbers near 1 is assumed


def rounding_noise(target: Target, name: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How far rounding puts each output (flat) off while one input moves, at least, and as it was measured.

    y(t) - 2 y(0) + y(-t) is of the order t^2 for a smooth function; with t a few of the last bits of each element, so
    that x + t is exact, nothing is left of that, and what remains is rounding, with all the cancellation that the
    forward may suffer inside. Outputs that hardly move (a loss of 1e-12) do not show it: the last bit of the numbers
    they came from is assumed at least.
    """
    host, base = target.inputs[name], target.base.ravel()
    cancelled = min(output_size(target, name), largest(host))
    last_bit = LAST_BIT_32 if target.only32 else LAST_BIT
    measured = last_bit * abs(base)
    tiny = 2.0**-49 * np.reshape([power_of_two(size) for size in own_sizes(host).ravel()], host.shape)
    for _ in range(2):
        step = tiny * generator.choice([-4.0, -2.0, -1.0, 1.0, 2.0, 4.0], host.shape)
        moved = Path(target, {name: step})
        apart = abs(moved(1.0) - 2 * base + moved(-1.0))
        measured = np.maximum(measured, np.where(np.isfinite(apart), apart, 0.0))
    assumed = np.maximum(measured, last_bit * cancelled)
    return np.maximum(assumed, 0.1 * largest(assumed)), measured
