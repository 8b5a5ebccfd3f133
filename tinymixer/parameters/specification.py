"""A layer's specification: names, shapes and initial values of the arrays that it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Initialise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class ParameterSpec:
    """The shape of one weight array and the function (generator, shape) -> array that draws its initial values."""

    shape: tuple[int, ...]
    initialise: Initialise


@dataclass(frozen=True)
class BufferSpec(ParameterSpec):
    """The same for a buffer: a statistic that is kept with the weights but not trained, such as a running mean."""


Specification = Mapping[str, ParameterSpec]


def prefixed(prefix: str, specification: Specification) -> dict[str, ParameterSpec]:
    """Put "prefix." before every name, as a parent does with its children's parameters."""
    return {f"{prefix}.{name}": spec for name, spec in specification.items()}
