"""How large things are where a subject is checked: inputs, outputs, rounding. Steps and tolerances follow from that."""

import numpy as np

from tinymixer.gradcheck.arrays import REFUSALS, largest
from tinymixer.gradcheck.comparison import LAST_BIT
from tinymixer.gradcheck.differences import Function
from tinymixer.gradcheck.subject import Subject


def along(subject: Subject, name: str, step: np.ndarray) -> Function:
    """The function t -> output with the input moved by t along a step."""
    host = subject.inputs[name]
    return lambda t: subject.output({name: host + t * step})


def unit_step(host: np.ndarray, index: int) -> np.ndarray:
    """A step that moves one element alone."""
    step = np.zeros(host.shape)
    step.flat[index] = 1.0
    return step


def element_sizes(host: np.ndarray) -> np.ndarray:
    """How large each element is taken to be when a step is chosen: its own size, or the mean of all if larger."""
    size = abs(host).ravel()
    mean = float(size.mean()) if size.size else 0.0
    return np.maximum(size, mean) if mean else np.ones(host.size)


def output_size(subject: Subject, name: str, weights: np.ndarray) -> float:
    """How large weighted outputs are here, or would be at the mirrored input: so far a derivative times x may reach.

    The loss of a sample far on the right side is nearly 0, by the cancellation of numbers that are not.
    """
    sizes = [largest(weights * subject.output({}))]
    try:
        with np.errstate(all="ignore"):
            sizes.append(largest(weights * subject.output({name: -subject.inputs[name]})))
    except REFUSALS:
        pass
    return max(sizes) or 1.0  # an output that is 0 everywhere says nothing: rounding of numbers near 1 is assumed


def rounding_noise(subject: Subject, name: str, generator: np.random.Generator) -> np.ndarray:
    """How far rounding puts each output off while one input moves, measured.

    y(t) - 2 y(0) + y(-t) is of the order t^2 for a smooth function; with t = 2^-40 of the input's size nothing is left
    of that, and what remains is rounding, with all the cancellation that the forward may suffer inside. Outputs that
    hardly move (a loss of 1e-12) do not show it: the last bit of the numbers they came from is assumed at least.
    """
    host, base = subject.inputs[name], subject.output({})
    cancelled = min(output_size(subject, name, np.ones(base.shape)), largest(host))
    rounding = LAST_BIT * np.maximum(abs(base), cancelled)
    tiny = 2.0**-40 * np.reshape(element_sizes(host), host.shape)
    for _ in range(3):
        step = tiny * generator.uniform(0.5, 1.5, host.shape) * generator.choice([-1.0, 1.0], host.shape)
        moved = along(subject, name, step)
        rounding = np.maximum(rounding, abs(moved(1.0) - 2 * base + moved(-1.0)))
    return np.maximum(rounding, 0.1 * largest(rounding))
