"""Evaluates a trainer's model with other weights than its own: the averaged ones, or those of a checkpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinymixer.training.trainer import Trainer


@contextmanager
def averaged_weights(trainer: "Trainer") -> Iterator[None]:
    """Within the block the model has the averaged weights and buffers, where the run averages; after it, its own."""
    if trainer.average is None:
        yield
        return
    try:
        with trainer.average.applied():
            trainer.engine.refresh()
            yield
    finally:
        trainer.engine.refresh()


@contextmanager
def other_weights(
    trainer: "Trainer", parameters: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray]
) -> Iterator[None]:
    """Within the block the model has the weights and buffers given; after it, its own."""
    own = trainer.model.parameters
    kept = own.to_numpy(), own.buffers_to_numpy()
    try:
        load_weights(trainer, parameters, buffers)
        yield
    finally:
        load_weights(trainer, *kept)


def load_weights(trainer: "Trainer", parameters: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray]) -> None:
    """Load weights and buffers into the trainer's model, and tell its engine."""
    trainer.model.parameters.load(parameters)
    trainer.model.parameters.load_buffers(buffers)
    trainer.engine.refresh()
