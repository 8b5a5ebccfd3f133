"""Our own step on the GPU, behind the same functions as the peers.

It does a little more than they do: it gathers its batch from a data set on the GPU, normalises the images, and counts
correct predictions.
"""

from typing import Any

import numpy as np

from tinymixer import MixerConfig, MlpMixer, __version__
from tinymixer.bench.timing import Run
from tinymixer.bench.work import (
    LEARNING_RATE,
    MOMENTUM,
    PIXEL_MEAN,
    PIXEL_STD,
    WEIGHT_DECAY,
    first_weights,
    synthetic_batch,
)
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.engines.engine import Step
from tinymixer.optim import SGD

STEPS_AT_ONCE = 32


def make_captured_step(
    config: MixerConfig, batch: int, precision: str, captured: bool = True, **options: Any
) -> CapturedStep:
    """The captured step over a data set of one synthetic batch. The options are `CapturedStep`'s."""
    pixels, labels = synthetic_batch(config, batch)
    model = MlpMixer(config, backend="cupy")
    model.parameters.load(first_weights(config))
    optimizer = SGD(model.parameters, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, decay="all")
    mean, std = (np.full(config.in_channels, value) for value in (PIXEL_MEAN, PIXEL_STD))
    return CapturedStep(
        model, optimizer, pixels, labels, batch_size=batch, mean=mean, std=std, precision=precision,
        captured=captured, **options,
    )  # fmt: skip


def stage_steps(step: CapturedStep, steps: int) -> None:
    """Stage this many steps, all on the same images, as the peers do; augmented where the step was made so."""
    indices = np.arange(step.batch_size)
    step.stage(step.draw([Step(indices, 0, i, LEARNING_RATE) for i in range(steps)], seed=0))


def make_step(config: MixerConfig, batch: int, precision: str, device: str, **options: Any) -> Run:
    """Training steps; the options are `CapturedStep`'s. Raises ValueError without a GPU."""
    if device != "cuda":
        raise ValueError("the captured step runs on a GPU")
    return steps_of(make_captured_step(config, batch, precision, **options))


def steps_of(step: CapturedStep) -> Run:
    """A function that takes steps and waits for them; it returns the last loss."""

    def run(steps: int) -> float:
        while steps:
            count = min(steps, STEPS_AT_ONCE)
            stage_steps(step, count)
            step.run(count)
            steps -= count
        step.totals()
        return float(step.recent(1)[0, 0])

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str, **options: Any) -> Run:
    """The forward pass alone. Raises ValueError without a GPU."""
    if device != "cuda":
        raise ValueError("the captured step runs on a GPU")
    step = make_captured_step(config, batch, precision, **options)
    pixels = step.resident(synthetic_batch(config, batch)[0])

    def run(steps: int) -> np.ndarray:
        for _ in range(steps):
            logits = step.logits(pixels, np.arange(batch))
        return logits

    return run


def versions() -> str:
    import cupy

    return f"tinymixer {__version__} on CuPy {cupy.__version__}"


_held_before = 0


def reset_peak() -> None:
    import cupy

    global _held_before
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    _held_before = int(pool.total_bytes())


def peak_bytes() -> int | None:
    """The memory pool never shrinks by itself, so what it took since `reset_peak` is the peak since then."""
    import cupy

    return int(cupy.get_default_memory_pool().total_bytes()) - _held_before
