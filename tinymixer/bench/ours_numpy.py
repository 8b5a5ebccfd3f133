"""Our own step on a processor, behind the same functions as the peers.

It computes in float32, in whatever precision the peers compute.
"""

from typing import Any

import numpy as np

from tinymixer import MlpMixer, __version__
from tinymixer.bench.timing import Run
from tinymixer.bench.work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, first_weights, normalised_images
from tinymixer.engines.cpu import CpuMixer
from tinymixer.engines.step import train_step
from tinymixer.models import MixerConfig
from tinymixer.optim import SGD


def make_mixer(config: MixerConfig, threads: int) -> CpuMixer:
    """The cpu engine, with the weights that every implementation starts from."""
    model = MlpMixer(config, backend="numpy")
    model.parameters.load(first_weights(config))
    return CpuMixer(model, threads=threads)


def make_training(config: MixerConfig, threads: int) -> tuple[CpuMixer, SGD]:
    """The cpu engine and its optimizer."""
    mixer = make_mixer(config, threads)
    parameters = mixer.model.parameters
    return mixer, SGD(parameters, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, decay="all")


def make_step(config: MixerConfig, batch: int, precision: str, device: str, threads: int = 0) -> Run:
    mixer, optimizer = make_training(config, threads)
    images, labels = normalised_images(config, batch)

    def run(steps: int) -> float:
        for _ in range(steps):
            result = train_step(mixer, optimizer, images, labels, LEARNING_RATE)
        return result.loss

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str, threads: int = 0) -> Run:
    mixer = make_mixer(config, threads)
    images, _ = normalised_images(config, batch)

    def run(steps: int) -> Any:
        for _ in range(steps):
            logits = mixer.logits(images)
        return logits

    return run


def versions() -> str:
    return f"tinymixer {__version__} on NumPy {np.__version__}"
