"""Large inputs: the gradient of a random cotangent at a few elements and along random directions."""

from dataclasses import dataclass

import numpy as np

from tinymixer.gradcheck.comparison import LAST_BIT, Direction, Numerical, Places, comparison_row
from tinymixer.gradcheck.differences import Function, derivative
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.scale import along, element_sizes, output_size, unit_step
from tinymixer.gradcheck.subject import Subject, random_cotangent, stream


@dataclass
class Sampled:
    """One large input of a subject, the gradient by it that the backward gives, and what that gradient is of.

    analytic    the gradient by the input, of sum(cotangent * output)
    noise       how far rounding puts each output off
    count       how many elements to try, and half as many directions
    """

    subject: Subject
    name: str
    analytic: np.ndarray
    cotangent: np.ndarray
    noise: np.ndarray
    count: int
    generator: np.random.Generator

    @property
    def host(self) -> np.ndarray:
        return self.subject.inputs[self.name]

    @property
    def weighted_noise(self) -> float:
        """The noise of sum(cotangent * output), the outputs' own being independent of each other."""
        return float(np.linalg.norm(self.cotangent * self.noise))

    @property
    def natural(self) -> float:
        """How large sum(cotangent * output) may be."""
        return output_size(self.subject, self.name, self.cotangent) * float(np.sqrt(self.cotangent.size))

    def contracted(self, step: np.ndarray) -> Function:
        """The function t -> sum(cotangent * output) with the input moved by t along a step."""
        moved = along(self.subject, self.name, step)
        return lambda t: np.asarray(np.sum(self.cotangent * moved(t)))


def sampled_elements(sample: Sampled) -> tuple[Numerical, np.ndarray, Places, list[Function], np.ndarray]:
    """Derivatives by single elements: numerical, as the backward says, their places, the functions, the sizes."""
    host = sample.host
    chosen = _corners_and_others(host.shape, sample.count, sample.generator)
    sizes = element_sizes(host)[chosen]
    functions = [sample.contracted(unit_step(host, j)) for j in chosen]
    found = [derivative(f, size, sample.weighted_noise) for f, size in zip(functions, sizes, strict=True)]
    values, uncertainty = (np.array([float(pair[which]) for pair in found]) for which in (0, 1))
    numerical = Numerical(values, uncertainty, sample.natural / float(np.max(sizes)))
    return numerical, sample.analytic.ravel()[chosen], Places(sample.name, host.shape, chosen), functions, sizes


def sampled_directions(sample: Sampled) -> tuple[Numerical, np.ndarray, Places]:
    """Derivatives along random directions through the whole input: numerical, as the backward says, their names."""
    host = sample.host
    typical = float(np.mean(element_sizes(host)))
    steps = [typical * sample.generator.standard_normal(host.shape) for _ in range(max(sample.count // 2, 1))]
    found = [derivative(sample.contracted(step), 1.0, sample.weighted_noise) for step in steps]
    values, uncertainty = (np.array([float(pair[which]) for pair in found]) for which in (0, 1))
    terms = [(sample.analytic * step).ravel() for step in steps]
    numerical = Numerical(values, uncertainty, sample.natural, _spread(terms))
    return numerical, np.array([term.sum() for term in terms]), Direction(sample.name, host.shape)


def joint_row(subject: Subject, samples: int, tolerance: float, seed: int) -> Row:
    """Random directions through all inputs at once: a sum over every gradient there is."""
    generator = stream(seed, "joint directions")
    y, cache = subject.forward(subject.placed())
    cotangent = random_cotangent(np.shape(y), generator)
    analytic = subject.gradients(cotangent, cache)
    base = cotangent * subject.output({})
    found, terms = [], []
    for _ in range(max(samples // 2, 1)):
        steps = {
            name: float(np.mean(element_sizes(host))) * generator.standard_normal(host.shape)
            for name, host in subject.inputs.items()
        }
        moved = _jointly(subject, cotangent, steps)
        noise = abs(moved(2.0**-40) - 2 * moved(0.0) + moved(-(2.0**-40))) + LAST_BIT * np.linalg.norm(base)
        found.append(derivative(moved, 1.0, noise))
        terms.append(np.concatenate([(analytic[name] * step).ravel() for name, step in steps.items()]))
    values, uncertainty = (np.array([float(pair[which]) for pair in found]) for which in (0, 1))
    numerical = Numerical(values, uncertainty, float(np.linalg.norm(base)), _spread(terms))
    got = np.array([term.sum() for term in terms])
    return comparison_row(subject, "directions", numerical, got, tolerance, Direction("all inputs", subject.shape))


def _jointly(subject: Subject, cotangent: np.ndarray, steps: dict[str, np.ndarray]) -> Function:
    def moved(t: float) -> np.ndarray:
        y = subject.output({name: host + t * steps[name] for name, host in subject.inputs.items()})
        return np.asarray(np.sum(cotangent * y))

    return moved


def _spread(terms: list[np.ndarray]) -> np.ndarray:
    """The size that sums of these terms have by chance: where they vanish, errors are measured against that."""
    norms = np.array([np.linalg.norm(term) for term in terms])
    return np.where(np.isfinite(norms), norms, 0.0)


def _corners_and_others(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> list[int]:
    """Flat indices: the first and the last element, the ends of the last axis, and random ones besides."""
    size = int(np.prod(shape))
    last = shape[-1] if shape else 1
    others = generator.choice(size, size=min(count, size), replace=False)
    return sorted({0, size - 1, last - 1, size - last, *(int(i) for i in others)})
