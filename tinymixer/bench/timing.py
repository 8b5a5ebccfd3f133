"""Fair timing: all functions warm up, then they take turns, and the median of the turns counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[int], Any]  # run(n) takes n steps and waits for them


def steps_for(run: Run, seconds: float) -> int:
    """The number of steps that take about `seconds`. Counting them is the warm-up, too."""
    run(2)
    started = time.perf_counter()
    run(3)
    return max(1, round(seconds / ((time.perf_counter() - started) / 3)))


def interleaved(runs: Mapping[str, Run], seconds: float = 0.5, turns: int = 5) -> dict[str, float]:
    """Median seconds per step of each function.

    They take turns, so that a machine that slows down slows all of them down. A turn lasts about `seconds`, long
    enough that starting and waiting do not matter.
    """
    steps = {name: steps_for(run, seconds) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            started = time.perf_counter()
            run(steps[name])
            found[name].append((time.perf_counter() - started) / steps[name])
    return {name: statistics.median(times) for name, times in found.items()}
