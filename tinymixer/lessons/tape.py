"""The scalar engine of lesson 01b: a list of numbers that remembers how each was made, and goes back through it."""

import math


class Tape:
    """Numbers in the order in which they were made.

    values  the numbers
    ways    for each number the ways that lead into it: pairs (place of an earlier number, local slope). The local slope
            is the partial derivative of the number with respect to that earlier one; one that was put in has no ways
    """

    def __init__(self) -> None:
        self.values: list[float] = []
        self.ways: list[tuple[tuple[int, float], ...]] = []

    def __repr__(self) -> str:
        return f"a tape of {len(self.values)} numbers"

    def write(self, value: float, *ways: tuple[int, float]) -> int:
        """Write a number down and return its place."""
        self.values.append(value)
        self.ways.append(ways)
        return len(self.values) - 1

    def add(self, a: int, b: int) -> int:
        """The sum of the numbers at two places; its place."""
        return self.write(self.values[a] + self.values[b], (a, 1.0), (b, 1.0))

    def multiply(self, a: int, b: int) -> int:
        """The product of the numbers at two places; its place."""
        x, y = self.values[a], self.values[b]
        return self.write(x * y, (a, y), (b, x))

    def tanh(self, a: int) -> int:
        """The tanh of the number at a place; its place."""
        t = math.tanh(self.values[a])
        return self.write(t, (a, 1 - t * t))

    def backward(self, last: int) -> list[float]:
        """The slope of the number at place `last` with respect to each number of the tape."""
        slopes = [0.0] * len(self.values)
        slopes[last] = 1.0
        for place in range(last, -1, -1):
            for part, local_slope in self.ways[place]:
                slopes[part] += slopes[place] * local_slope
        return slopes
