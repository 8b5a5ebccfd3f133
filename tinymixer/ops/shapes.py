"""One way to say that an array has the wrong shape, in the letters of the documentation."""

from tinymixer.errors import ShapeError
from tinymixer.ops.array_library import Array


def expect_shape(name: str, x: Array, letters: str, **sizes: int) -> None:
    """Raise ShapeError unless x has one axis per letter, with the given sizes.

    expect_shape("x", x, "S B C", S=64)  ->  "expected x of shape (S, B, C) with S=64, got (49, 8, 128)"

    A leading "..." admits any number of axes before the rest.
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
