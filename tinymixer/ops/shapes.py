"""Checks of shapes and labels; the errors name shapes in the letters of the documentation."""

import numpy as np

from tinymixer.errors import DataError, ShapeError
from tinymixer.ops.array_library import Array


def expect_shape(name: str, x: Array, letters: str, **sizes: int) -> None:
    """Raise ShapeError unless x has one axis per letter, with the given sizes.

    expect_shape("x", x, "S B C", S=64)  ->  "expected x of shape (S, B, C) with S=64, got (49, 8, 128)"

    A leading "..." stands for any number of axes.
    """
    axes = letters.split()
    wanted = axes[1:] if axes[0] == "..." else axes
    shape = tuple(x.shape)
    fits = len(shape) >= len(wanted) if axes[0] == "..." else len(shape) == len(wanted)
    if fits and all(
        sizes.get(axis, size) == size for axis, size in zip(reversed(wanted), reversed(shape), strict=False)
    ):
        return
    layout = "(" + ", ".join(axes) + ("," if len(axes) == 1 else "") + ")"
    given = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
    raise ShapeError(f"expected {name} of shape {layout}{' with ' + given if given else ''}, got {shape}")


def expect_labels(name: str, labels: Array, classes: int) -> None:
    """Raise DataError unless labels (B,) are whole numbers in 0..K-1.

    Values are checked for NumPy arrays only: reading them from a GPU would wait for all the work queued before.
    """
    if labels.dtype.kind not in "iu":
        raise DataError(f"expected {name} that are whole numbers, the numbers of the classes, got {labels.dtype}")
    if isinstance(labels, np.ndarray) and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise DataError(
                f"expected {name} from 0 to {classes - 1}, one of {classes} classes, got {low if low < 0 else high}"
            )
