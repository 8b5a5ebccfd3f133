"""Which networks are worth their cost: the frontier of accuracy over a cost, and how sure it is."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tinymixer.studies.numbers import Spread


@dataclass(frozen=True)
class Point:
    """A network that was trained, what that cost, and the accuracy of its seeds."""

    family: str
    size: str
    cost: float
    accuracy: Spread

    @property
    def name(self) -> str:
        return f"{self.family} {self.size}"


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, from cheap to dear.

    A point dominates another that costs as much or more and whose mean accuracy is as high or lower, unless the two are
    equal in both.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.accuracy.mean)):
        place = point.cost, point.accuracy.mean
        if not kept or place[1] > kept[-1].accuracy.mean or place == (kept[-1].cost, kept[-1].accuracy.mean):
            kept.append(point)
    return kept


def best_within(points: Sequence[Point], cost: float) -> Point:
    """The point with the highest mean accuracy among those of that cost or less."""
    return max((point for point in points if point.cost <= cost), key=lambda point: point.accuracy.mean)


def missing(point: Point, points: Sequence[Point]) -> float:
    """How much accuracy (0 to 1) a point lacks to the frontier at its own cost; 0 on the frontier."""
    return best_within(points, point.cost).accuracy.mean - point.accuracy.mean


def overlap(one: Spread, other: Spread) -> bool:
    """Whether two ranges over seeds meet, so that their order is not known. Of two single seeds nothing is said."""
    several = max(len(one.values), len(other.values)) > 1
    return several and one.low <= other.high and other.low <= one.high


def undecided_neighbours(line: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Neighbours on a frontier whose ranges overlap: the dearer may not be the better one."""
    return [pair for pair in itertools.pairwise(line) if overlap(pair[0].accuracy, pair[1].accuracy)]


def undecided_outside(points: Sequence[Point], line: Sequence[Point]) -> list[Point]:
    """Points off a frontier whose range meets that of the best point of their cost or less: they may belong to it."""
    return [
        point
        for point in points
        if point not in line and overlap(point.accuracy, best_within(points, point.cost).accuracy)
    ]
