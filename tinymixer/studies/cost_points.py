"""The networks of `cost` as points: how good each is, and what its training cost in operations, seconds and joules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinymixer.studies.frontier import Point
from tinymixer.studies.numbers import Numbers

FAMILIES = ("mixer", "vit", "resnet", "bit", "nf_resnet", "botnet")
SIZES = ("small", "medium", "large")
ALONE: Mapping[str, str] = {"family": "all", "measured": "costs of a step"}  # what the part is that measures
LAYER_BY_LAYER = "mixer, layer by layer"


@dataclass(frozen=True)
class Cost:
    """A cost in words.

    title   of its panel
    scale   the number that is shown is the cost divided by it
    """

    title: str
    scale: float
    unit: str

    def words(self, value: float) -> str:
        """Such as "4.3 billion" or "6.1 s"."""
        return f"{value / self.scale:,.1f} {self.unit}"


COSTS: Mapping[str, Cost] = {
    "operations": Cost("multiply-adds", 1e9, "billion"),
    "seconds": Cost("seconds", 1.0, "s"),
    "joules": Cost("joules", 1.0, "J"),
}


def measured(numbers: Numbers) -> Mapping[str, Any]:
    """The figures of the part that measures steps; empty where it has not finished."""
    found = numbers.chosen(**ALONE)
    return found[0].figures if found else {}


def points_of(numbers: Numbers, cost: str, mixer_as: str = "mixer") -> list[Point]:
    """Each family in each size that has finished, by a cost; none where that cost is not known.

    mixer_as   whose steps stand for the Mixer's
    """
    return [
        Point(family, size, price, numbers.spread("validation_accuracy", family=family, size=size))
        for family in FAMILIES
        for size in SIZES
        if (price := cost_of(numbers, cost, family, size, mixer_as if family == "mixer" else "")) is not None
    ]


def cost_of(numbers: Numbers, cost: str, family: str, size: str, timed: str = "") -> float | None:
    """What training a network cost in all; None where it is not known.

    timed   whose steps were timed; "" for its own
    """
    found = numbers.chosen(family=family, size=size)
    if not found:
        return None
    figures = found[0].figures  # of any seed: all take equal steps
    if cost == "operations":
        return float(figures["training_multiply_adds"])
    step = (measured(numbers).get(f"step_{cost}") or {}).get(f"{timed or family} {size}")
    return None if step is None else float(figures["steps"] * step)
