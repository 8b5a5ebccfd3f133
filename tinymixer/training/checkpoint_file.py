"""Reading the arrays of a checkpoint file: whatever is in it, nothing is unpickled, and nothing fills the memory."""

from pathlib import Path

import numpy as np

from tinymixer.errors import CheckpointError
from tinymixer.npz import npz_file

ADVICE = ". It is damaged or another file; use the run's other one (best.npz or last.npz), or start a new run"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises CheckpointError for one that is missing or damaged.

    Our arrays are not compressed, so that none is larger than the file.
    """
    if not path.exists():
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    with npz_file(path, CheckpointError, f"{path} cannot be read as a checkpoint", ADVICE) as archive:
        return archive.read(archive.names, compressed=False)
