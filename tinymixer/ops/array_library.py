"""Which array library an array belongs to, and the part of it that operations, layers and optimizers may use.

NumPy and CuPy share far more names; a short list keeps the code readable and makes another array library easy to add.
The tests run everything on a stand-in library that has these names and no others, and whose arrays refuse to be
converted to NumPy (`tests/strict_arrays.py`). To use another name, check that CuPy has it with the same arguments and
add it here.
"""

import sys
from typing import Any, TypeAlias

from tinymixer.errors import BackendError

# An array of NumPy or CuPy. To a type checker it is Any: no protocol fits the arrays of both libraries without errors
# on correct code. The name is for the reader, shapes stand in comments, and tests allow only what the lists below name.
Array: TypeAlias = Any

# What a forward pass returns for its own backward pass. Nothing else reads it.
Cache: TypeAlias = Any

FUNCTIONS = frozenset(
    {
        "abs",
        "arange",
        "argmax",
        "asarray",
        "broadcast_to",
        "concatenate",
        "empty",
        "exp",
        "floor",
        "lib.stride_tricks.sliding_window_view",
        "log",
        "matmul",
        "max",
        "maximum",
        "mean",
        "minimum",
        "sqrt",
        "stack",
        "sum",
        "take",
        "tanh",
        "where",
        "zeros",
        "zeros_like",
    }
)

METHODS = frozenset({"astype", "copy", "fill", "reshape", "transpose", "view"})

ATTRIBUTES = frozenset({"T", "dtype", "itemsize", "nbytes", "ndim", "shape", "size"})

# Arithmetic, comparison, @, &, ^, >>, indexing with slices and integers, and the in-place forms of arithmetic are
# allowed too.


def namespace(x: Array) -> Any:
    """Return the array library that x belongs to (`numpy` or `cupy`), so that the same code runs on both.

    NumPy's arrays have the method `__array_namespace__`. CuPy's do not yet: their class's module tells the library.
    Raises BackendError for anything that is not an array.
    """
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    library = sys.modules[type(x).__module__.partition(".")[0]]
    if not hasattr(library, "ndarray"):
        raise BackendError(f"expected an array of NumPy or CuPy, got {type(x).__name__}: use backend.asarray(...)")
    return library
