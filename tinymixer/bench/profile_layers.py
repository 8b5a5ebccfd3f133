"""Where the time of a step of the reference engine goes: times the operations while a step runs."""

import time
from types import SimpleNamespace
from typing import Any

from tinymixer.bench.ours_numpy import make_engine, make_optimizer
from tinymixer.bench.profile_numpy import Stopwatch
from tinymixer.bench.work import LEARNING_RATE, normalised_images
from tinymixer.engines import slicing
from tinymixer.engines.step import train_step

REST = "rest: residual sums, adding up gradients, update, waiting"


def profile(config: Any, batch: int, threads: int, forward: bool, seconds: float) -> list[dict[str, Any]]:
    """A row per operation, the longest first: name, milliseconds per step, share of the step.

    An operation's time is added up over all threads and divided by their number. Batch norm's holds the waiting for the
    other threads' sums.
    """
    watch = Stopwatch()
    found = slicing.sliced_operations

    def timed_operations(thread: int, sums: Any) -> Any:
        named = vars(found(thread, sums)).items()
        return SimpleNamespace(**{name: watch.timed(name, operation) for name, operation in named})

    engine = make_engine(config, threads)
    optimizer = make_optimizer(engine)
    images, labels = normalised_images(config, batch)

    def step() -> None:
        if forward:
            engine.logits(images)
        else:
            train_step(engine, optimizer, images, labels, LEARNING_RATE)

    slicing.sliced_operations = timed_operations
    try:
        for _ in range(2):  # the first one makes the replicas, with their operations, and is checked
            step()
        watch.seconds.clear()  # of the batch that was computed whole, too
        steps, started = 0, time.perf_counter()
        while steps < 2 or time.perf_counter() - started < seconds:
            step()
            steps += 1
        whole = (time.perf_counter() - started) / steps
    finally:
        slicing.sliced_operations = found
    stages = {name.replace("_", " "): taken / steps / threads for name, taken in watch.seconds.items()}
    stages[REST] = max(0.0, whole - sum(stages.values()))
    rows = [
        {"name": name, "milliseconds": taken * 1e3, "share": taken / whole}
        for name, taken in sorted(stages.items(), key=lambda item: -item[1])
    ]
    return [*rows, {"name": "whole step", "milliseconds": whole * 1e3, "share": 1.0}]
