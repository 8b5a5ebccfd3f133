"""Trained weights that a run can start from: a run's, those that come with the package, or published ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer import pretrained
from tinymixer.models import architecture_of
from tinymixer.pretrained.catalogue import entries
from tinymixer.training.checkpoint import Checkpoint
from tinymixer.training.loading import read_checkpoint
from tinymixer.training.weights import is_run


@dataclass(frozen=True)
class StartingWeights:
    """Trained weights with the description of their model.

    source         where they come from, for messages
    architecture   the model's registered name, or "module:Class"
    config         its configuration
    class_names    None where nobody knows them, as in most published files
    averaged       whether they are the average of a run's last steps
    """

    source: str
    architecture: str
    config: Any
    parameters: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]
    class_names: tuple[str, ...] | None = None
    averaged: bool = False

    @classmethod
    def of(cls, checkpoint: Checkpoint, source: str | Path) -> "StartingWeights":
        """The weights of a checkpoint, averaged where it holds an average."""
        recipe, data = checkpoint.recipe, checkpoint.data
        names = None if data is None else tuple(data.class_names)
        return cls(str(source), recipe.architecture, recipe.model, *checkpoint.weights(), names, checkpoint.is_averaged)


def weights_to_begin_with(source: str | Path) -> StartingWeights:
    """Load a run folder's recommended checkpoint, a checkpoint file, or published weights (a file, or a fetched name).

    Raises CheckpointError where there are none, or they cannot be used.
    """
    if is_run(source) or not (Path(source).exists() or str(source) in entries()):
        return StartingWeights.of(read_checkpoint(source)[0], source)
    loaded = pretrained.load_weights(source, backend="numpy")
    parameters, names = loaded.parameters, loaded.class_names
    return StartingWeights(
        str(source),
        architecture_of(loaded.model),
        loaded.config,
        parameters.to_numpy(),
        parameters.buffers_to_numpy(),
        None if names == tuple(map(str, range(len(names)))) else names,  # numbers stand for names that are not known
    )
