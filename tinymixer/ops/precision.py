"""The dtype that sums and means are accumulated in."""

from typing import Any

from tinymixer.ops.array_library import Array


def statistics_dtype(x: Array) -> Any:
    """float32 for 16-bit floats, otherwise the dtype of x: sums of many small numbers lose digits in 16 bits."""
    return "float32" if x.dtype.itemsize < 4 else x.dtype
