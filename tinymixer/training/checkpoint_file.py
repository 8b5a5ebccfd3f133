"""Reading the arrays of a checkpoint file: whatever is in it, nothing is unpickled, and nothing fills the memory."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tinymixer.errors import CheckpointError

# What NumPy and zipfile raise for bytes that are not what they should be.
UNREADABLE = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises CheckpointError for one that is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            # Not compressed, so that no array is larger than the file; whole, before anything in it is interpreted.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its arrays are compressed, which ours never are")
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the check sum of '{damaged}' is wrong")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except UNREADABLE as error:
        reason = "arrays of Python objects are refused" if "allow_pickle" in str(error) else str(error)
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({reason}): it is damaged or another file; use the run's "
            "other one (best.npz or last.npz), or start a new run"
        ) from error
