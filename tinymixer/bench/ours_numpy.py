"""Our own step on a processor, behind the same functions as the peers.

It computes in float32, in whatever precision the peers compute.
"""

from typing import Any

import numpy as np

from tinymixer import MlpMixer, __version__
from tinymixer.bench.models import architecture_of
from tinymixer.bench.timing import Run
from tinymixer.bench.work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, first_weights, normalised_images
from tinymixer.engines.cpu import CpuMixer
from tinymixer.engines.engine import Engine
from tinymixer.engines.reference import ReferenceEngine
from tinymixer.engines.step import train_step
from tinymixer.models import MixerConfig, make_model
from tinymixer.optim import SGD


def make_mixer(config: MixerConfig, threads: int) -> CpuMixer:
    """The cpu engine, with the weights that every implementation starts from."""
    model = MlpMixer(config, backend="numpy")
    model.parameters.load(first_weights(config))
    return CpuMixer(model, threads=threads)


def make_engine(config: Any, threads: int) -> Engine:
    """The cpu engine for a Mixer, the reference engine for every other model; with the same weights."""
    if isinstance(config, MixerConfig):
        return make_mixer(config, threads)
    model = make_model(architecture_of(config), config, backend="numpy")
    model.parameters.load(first_weights(config))
    return ReferenceEngine(model, threads=threads)


def make_optimizer(engine: Engine) -> SGD:
    parameters = engine.model.parameters
    return SGD(parameters, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, decay="all")


def make_step(config: Any, batch: int, precision: str, device: str, threads: int = 0) -> Run:
    engine = make_engine(config, threads)
    optimizer = make_optimizer(engine)
    images, labels = normalised_images(config, batch)

    def run(steps: int) -> float:
        for _ in range(steps):
            result = train_step(engine, optimizer, images, labels, LEARNING_RATE)
        return result.loss

    return run


def make_forward(config: Any, batch: int, precision: str, device: str, threads: int = 0) -> Run:
    engine = make_engine(config, threads)
    images, _ = normalised_images(config, batch)

    def run(steps: int) -> Any:
        for _ in range(steps):
            logits = engine.logits(images)
        return logits

    return run


def versions() -> str:
    return f"tinymixer {__version__} on NumPy {np.__version__}"
