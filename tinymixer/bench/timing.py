"""Fair timing: all functions warm up, then they take turns, and the median of the turns counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[int], Any]  # run(n) takes n steps and waits for them


def steps_for(run: Run, seconds: float, clock: Callable[[], float] | None = None) -> int:
    """The number of steps that take about `seconds`. Counting them is the warm-up, too."""
    clock = clock or time.perf_counter
    run(2)
    started = clock()
    run(3)
    return max(1, round(seconds / max((clock() - started) / 3, 1e-6)))


def interleaved(
    runs: Mapping[str, Run], seconds: float = 0.5, turns: int = 5, clock: Callable[[], float] | None = None
) -> dict[str, float]:
    """Median seconds per step of each function.

    clock   [default: the time that passes] `time.process_time` counts what the processor worked for this process, so
            that other programs disturb less

    They take turns, so that a machine that slows down slows all of them down. A turn lasts about `seconds`, long
    enough that starting and waiting do not matter.
    """
    clock = clock or time.perf_counter
    steps = {name: steps_for(run, seconds, clock) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            started = clock()
            run(steps[name])
            found[name].append((clock() - started) / steps[name])
    return {name: statistics.median(times) for name, times in found.items()}
