"""Registers planted faults (mutants): wrong functions or layers whose docstrings say the mistake."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.layer import check_layer
from tinymixer.gradcheck.operation import check_operation
from tinymixer.gradcheck.report import Report

Draw = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class PlantedFault:
    """One mistake that a gradient check must catch.

    name        the mistake in a few words
    operation   what it was made in: the name of a pair in `tinymixer.ops`, "square", or "layer"
    mistake     a sentence that says what is wrong, for a table or a hint
    forward, backward   the pair with the mistake in it; for a layer, its class and None
    inputs      draws the inputs at which the mistake shows
    """

    name: str
    operation: str
    mistake: str
    forward: Callable[..., Any]
    backward: Callable[..., Any] | None
    inputs: Draw

    def check(self, seed: int = 0) -> Report:
        """The report of the gradient check on this fault; it must not pass."""
        drawn = self.inputs(np.random.default_rng(seed))
        if self.backward is None:
            return check_layer(self.forward(), *drawn, name=self.name, seed=seed)
        return check_operation(self.forward, self.backward, *drawn, name=self.name, seed=seed)

    def check_without(self, seed: int = 0) -> Report | None:
        """The report on the right backward at the same inputs, which must pass; None where there is none in `ops`."""
        right = getattr(ops, f"{self.operation}_backward", None)
        if right is None:
            return None
        forward = getattr(ops, f"{self.operation}_forward")
        return check_operation(forward, right, *self.inputs(np.random.default_rng(seed)), seed=seed)


PLANTED: list[PlantedFault] = []


def fault(operation: str, inputs: Draw, forward: Callable[..., Any] | None = None) -> Callable[[Any], Any]:
    """Register the decorated backward, which stands beside the right forward of `ops` or the forward given."""

    def register(backward: Any) -> Any:
        pair = forward or getattr(ops, f"{operation}_forward")
        PLANTED.append(PlantedFault(_words(backward), operation, _sentence(backward), pair, backward, inputs))
        return backward

    return register


def layer_fault(inputs: Draw) -> Callable[[Any], Any]:
    """Register the decorated layer class, which is built without arguments."""

    def register(layer: Any) -> Any:
        PLANTED.append(PlantedFault(_words(layer), "layer", _sentence(layer), layer, None, inputs))
        return layer

    return register


def _words(named: Any) -> str:
    """`mean_term_missing` or `MeanTermMissing` -> "mean term missing"."""
    name = named.__name__
    if "_" not in name:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return name.strip("_").replace("_", " ")


def _sentence(documented: Any) -> str:
    return " ".join((documented.__doc__ or "").split())
