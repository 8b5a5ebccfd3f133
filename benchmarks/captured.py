"""Our own step on the GPU, behind the same functions as the peers in `benchmarks.peers`.

It does a little more than they do: it cuts its batch out of a resident data set, normalises it, and counts right
answers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from tinymixer import MixerConfig, MlpMixer, __version__
from tinymixer.captured.captured_step import CapturedStep
from tinymixer.captured.staging import draw_step
from tinymixer.data import Augmentation
from tinymixer.optim import SGD

STEPS_AT_ONCE = 32


def make_captured_step(
    config: MixerConfig, batch: int, precision: str, captured: bool = True, **options: Any
) -> CapturedStep:
    """The step over a synthetic data set of a few batches."""
    rng = np.random.default_rng(0)
    count = 4 * batch
    images = rng.integers(0, 256, (count, config.image_size, config.image_size, config.in_channels)).astype(np.uint8)
    labels = rng.integers(0, config.num_classes, count)
    model = MlpMixer(config, backend="cupy")
    optimizer = SGD(model.parameters, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    half = np.full(config.in_channels, 0.5)
    return CapturedStep(
        model, optimizer, images, labels, batch_size=batch, mean=half, std=half / 2, precision=precision,
        captured=captured, **options,
    )  # fmt: skip


def stage_steps(step: CapturedStep, steps: int) -> None:
    """Numbers for so many steps, all over the same images, as the peers' are."""
    indices, none = np.arange(step.batch_size), Augmentation(0, False, 0)
    step.stage([draw_step(indices, none, step.rates, LEARNING_RATE, 0, 0, i) for i in range(steps)])


def make_step(
    config: MixerConfig, batch: int, precision: str, device: str, captured: bool = True
) -> Callable[[int], None]:
    if device != "cuda":
        raise ValueError("the captured step runs on a GPU")
    step = make_captured_step(config, batch, precision, captured)

    def run(steps: int) -> None:
        while steps:
            count = min(steps, STEPS_AT_ONCE)
            stage_steps(step, count)
            step.run(count)
            steps -= count
        step.totals()

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str) -> Callable[[int], None]:
    if device != "cuda":
        raise ValueError("the captured step runs on a GPU")
    step = make_captured_step(config, batch, precision)
    pixels = step.resident(np.zeros((batch, config.image_size, config.image_size, config.in_channels), np.uint8))

    def run(steps: int) -> None:
        for _ in range(steps):
            step.logits(pixels, np.arange(batch))

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
    """The pool never shrinks by itself, so what it has taken since `reset_peak` is the peak since then."""
    import cupy

    return int(cupy.get_default_memory_pool().total_bytes()) - _held_before
