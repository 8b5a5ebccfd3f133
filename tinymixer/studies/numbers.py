"""The numbers of a study: what its parts have found, and mean and spread over the seeds of each group."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinymixer.text import counted

FORMAT = 1
FINISHED, FAILED, MISSING = "finished", "failed", "not finished"


@dataclass(frozen=True)
class PartResult:
    """What came of a part.

    state               "finished", "failed" or "not finished"
    figures             numbers by name (accuracies from 0 to 1); lists where a figure has one for each layer, say
    settings            the fields of its recipe that differ from the defaults
    seconds             by the clock, over all processes that worked on it
    processor_seconds   that the processors worked for it
    message             why it failed
    after               the part from whose run it started; "" none
    """

    name: str
    group: str
    what: Mapping[str, str]
    seed: int
    state: str
    figures: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: float = 0.0
    processor_seconds: float = 0.0
    message: str = ""
    after: str = ""


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of a group. low, high: the smallest and the largest value."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def low(self) -> float:
        return min(self.values, default=math.nan)

    @property
    def high(self) -> float:
        return max(self.values, default=math.nan)

    def __bool__(self) -> bool:
        return bool(self.values)

    def percent(self, digits: int = 1) -> str:
        """Such as "97.4 % (96.9 to 98.3)" for shares from 0 to 1; the range only for several values."""
        if not self.values:
            return "not measured"
        several = f" ({100 * self.low:.{digits}f} to {100 * self.high:.{digits}f})" if len(self.values) > 1 else ""
        return f"{100 * self.mean:.{digits}f} %{several}"

    def points(self, sign: str = "+") -> str:
        """Such as "+1.4 points (+0.7 to +2.1)" for differences in points; the range only for several values.

        sign   "" leaves out the plus of what is above 0
        """
        if not self.values:
            return "not measured"
        mean, low, high = (round(value, 1) + 0.0 for value in (self.mean, self.low, self.high))  # no -0.0
        several = f" ({low:{sign}.1f} to {high:{sign}.1f})" if len(self.values) > 1 else ""
        return f"{mean:{sign}.1f} points{several}"

    def plain(self, digits: int = 2) -> str:
        """Such as "0.62 (0.60 to 0.65)"."""
        if not self.values:
            return "not measured"
        several = f" ({self.low:.{digits}f} to {self.high:.{digits}f})" if len(self.values) > 1 else ""
        return f"{self.mean:.{digits}f}{several}"


@dataclass(frozen=True)
class Numbers:
    """The results of all parts, in their order.

    quick   whether they are of the quick form
    data    where the form's data set is read from; "" the usual place
    """

    results: Sequence[PartResult]
    quick: bool = True
    data: str = ""

    def chosen(self, **what: str) -> list[PartResult]:
        """The finished parts of which all of this is true."""
        return [
            result
            for result in self.results
            if result.state == FINISHED and all(result.what.get(name) == value for name, value in what.items())
        ]

    def spread(self, figure: str, **what: str) -> Spread:
        """A figure over the seeds of the finished parts of which all of this is true."""
        found = [result.figures[figure] for result in self.chosen(**what) if figure in result.figures]
        return Spread(tuple(float(value) for value in found))

    def paired(self, figure: str, one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[float, float]]:
        """The figure of both groups, for each seed that both have."""
        first, second = (
            {result.seed: result.figures[figure] for result in self.chosen(**what) if figure in result.figures}
            for what in (one, other)
        )
        return [(first[seed], second[seed]) for seed in first if seed in second]

    def gains(self, figure: str, one: Mapping[str, str], other: Mapping[str, str]) -> Spread:
        """By how many points a share (0 to 1) is higher in `one` than in `other`, for each seed that both have."""
        return Spread(tuple(100 * (first - second) for first, second in self.paired(figure, one, other)))

    def seeds_in_words(self, **what: str) -> str:
        """How many seeds the trained groups have, of which all of this is true: "3 seeds", or "1 to 3 seeds"."""
        seeds: dict[str, int] = {}
        for result in self.chosen(**what):
            if "validation_accuracy" in result.figures:
                seeds[result.group] = seeds.get(result.group, 0) + 1
        few, many = min(seeds.values(), default=0), max(seeds.values(), default=0)
        return counted(many, "seed") if few == many else f"{few} to {counted(many, 'seed')}"

    def groups(self) -> dict[str, dict[str, Any]]:
        """For each group: what it is, its seeds, and each figure's mean, smallest and largest value, and values."""
        table: dict[str, dict[str, Any]] = {}
        for result in self.results:
            if result.state != FINISHED:
                continue
            entry = table.setdefault(result.group, {"what": dict(result.what), "seeds": [], "figures": {}})
            entry["seeds"].append(result.seed)
            for name, value in result.figures.items():
                if isinstance(value, int | float):
                    entry["figures"].setdefault(name, []).append(value)
        for entry in table.values():
            entry["figures"] = {
                name: {"mean": Spread(tuple(values)).mean, "low": min(values), "high": max(values), "values": values}
                for name, values in entry["figures"].items()
            }
        return table
