"""Reads the arrays of a checkpoint file safely: without unpickling, and with no array larger than the file."""

from pathlib import Path

import numpy as np

from tinymixer.errors import CheckpointError
from tinymixer.npz import npz_file

ADVICE = ". It is damaged or another file; use the run's other one (best.npz or last.npz), or start a new run"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises CheckpointError for a file that is missing or damaged.

    Checkpoints are not compressed, so an array that claims to be larger than its file is an error.
    """
    if not path.exists():
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    with npz_file(path, CheckpointError, f"{path} cannot be read as a checkpoint", ADVICE) as archive:
        return archive.read(archive.names, compressed=False)
