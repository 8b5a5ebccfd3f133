"""Fair timing: everyone warms up, then everyone takes turns, and the median of the turns counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[int], Any]  # takes so many steps and waits for them


def steps_for(run: Run, seconds: float) -> int:
    """How many steps take about so long; warms up on the way."""
    run(2)
    started = time.perf_counter()
    run(3)
    return max(1, round(seconds / ((time.perf_counter() - started) / 3)))


def interleaved(runs: Mapping[str, Run], seconds: float = 0.5, turns: int = 5) -> dict[str, float]:
    """Median seconds per step of each, taking turns so that a machine that slows down slows down everyone.

    Each turn lasts about `seconds`, so that starting and waiting do not count.
    """
    steps = {name: steps_for(run, seconds) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            started = time.perf_counter()
            run(steps[name])
            found[name].append((time.perf_counter() - started) / steps[name])
    return {name: statistics.median(times) for name, times in found.items()}
