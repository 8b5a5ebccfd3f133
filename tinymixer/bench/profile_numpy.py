"""Where the time of our step on a processor goes: times the cpu engine's own functions while a step runs."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.bench.models import step_flops
from tinymixer.bench.ours_numpy import make_mixer, make_optimizer
from tinymixer.bench.work import LEARNING_RATE, normalised_images
from tinymixer.engines.cpu import channel_mixing, cpu_mixer, stem_and_head, token_mixing
from tinymixer.engines.cpu.folding import FoldedWeights
from tinymixer.engines.step import train_step
from tinymixer.models import MixerConfig
from tinymixer.optim import SGD

PRODUCTS, REST = "matrix products", "rest: residual sums, slopes, scales, biases, waiting"
SUMS = "sums for the gradients of biases and scales"
STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    (PRODUCTS, np, ("matmul",)),
    (PRODUCTS, token_mixing, ("multiply_left", "multiply_across")),
    ("GELU", token_mixing, ("activate",)),
    ("GELU", channel_mixing, ("activate",)),
    ("LayerNorm", token_mixing, ("centre", "normalise", "normalise_backward")),
    ("LayerNorm", channel_mixing, ("normalise", "normalise_backward")),
    ("LayerNorm", stem_and_head, ("normalise", "normalise_backward")),
    ("images to patches", stem_and_head, ("images_to_patches_forward",)),
    ("loss", cpu_mixer, ("softmax_cross_entropy",)),
    ("folding weights", FoldedWeights, ("fold_stem", "fold_blocks")),
    ("adding up gradients", cpu_mixer, ("add_up_blocks", "add_up_stem_and_head")),
    ("update", SGD, ("step",)),
)


def is_sum(a: Any, *_: Any) -> bool:
    """Whether a product has a row of ones as its left factor. The cpu engine sums over rows this way: it is fast."""
    return a.ndim == 1 or a.shape[-2] == 1


class Stopwatch:
    """Adds up how long functions take, over all threads. A timed function includes the time of what it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock, self._inside = threading.Lock(), threading.local()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def work(*arguments: Any, **keywords: Any) -> Any:
            if getattr(self._inside, "now", False):
                return function(*arguments, **keywords)
            self._inside.now, started = True, time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self._inside.now, elapsed = False, time.perf_counter() - started
                with self._lock:
                    self.seconds[SUMS if stage == PRODUCTS and is_sum(*arguments) else stage] += elapsed

        return work

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the functions in STAGES while this block runs."""
        originals = [(place, name, getattr(place, name)) for _, place, names in STAGES for name in names]
        try:
            for stage, place, names in STAGES:
                for name in names:
                    setattr(place, name, self.timed(stage, getattr(place, name)))
            yield
        finally:
            for place, name, function in originals:
                setattr(place, name, function)


def profile(config: MixerConfig, batch: int, threads: int, forward: bool, seconds: float) -> list[dict[str, Any]]:
    """A row per stage, the longest first: name, milliseconds per step, share of the step; for products, their rate.

    A stage's time is added up over all threads and divided by their number. The update shares its work among threads
    itself, so its time is the time that passes.
    """
    mixer = make_mixer(config, threads)
    optimizer = make_optimizer(mixer)
    images, labels = normalised_images(config, batch)

    def step() -> None:
        if forward:
            mixer.logits(images)
        else:
            train_step(mixer, optimizer, images, labels, LEARNING_RATE)

    for _ in range(2):
        step()
    watch, steps, started = Stopwatch(), 0, time.perf_counter()
    with watch.watching():
        while steps < 2 or time.perf_counter() - started < seconds:
            step()
            steps += 1
    whole = (time.perf_counter() - started) / steps
    stages = {name: taken / steps / (1 if name == "update" else mixer.threads) for name, taken in watch.seconds.items()}
    stages[REST] = max(0.0, whole - sum(stages.values()))
    rows = [
        {"name": name, "milliseconds": taken * 1e3, "share": taken / whole}
        for name, taken in sorted(stages.items(), key=lambda item: -item[1])
    ]
    for row in rows:
        if row["name"] == PRODUCTS:
            row["teraflops"] = step_flops(config, batch, forward) / stages[PRODUCTS] / 1e12
    rows.append({"name": "whole step", "milliseconds": whole * 1e3, "share": 1.0})
    return rows
