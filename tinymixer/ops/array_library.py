"""Which array library an array belongs to, and the part of it that operations, layers and optimizers may use.

NumPy and CuPy share far more; a short list keeps the code readable and every other array library within reach. The
tests run everything on a stand-in library that has these names and no others, and that refuses to become a NumPy
array behind our back (`tests/strict_arrays.py`). Whoever needs another name adds it here, after checking that
CuPy has it with the same arguments.
"""

import sys
from typing import Any, TypeAlias

from tinymixer.errors import BackendError

# An array of whichever library the caller computes with; a test holds its use to the lists below. To a type checker it
# is Any: NumPy's arrays have far narrower signatures than any protocol that CuPy's would fit as well, so that a checker
# would complain about right code. The name says what is meant, and shapes stand in comments.
Array: TypeAlias = Any

# What a forward pass leaves for its own backward pass and for nobody else.
Cache: TypeAlias = Any

FUNCTIONS = frozenset(
    {
        "abs",
        "arange",
        "argmax",
        "asarray",
        "broadcast_to",
        "concatenate",
        "exp",
        "log",
        "max",
        "mean",
        "minimum",
        "sqrt",
        "stack",
        "sum",
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
    """Return the array library that x belongs to, so that one line of code serves them all.

    NumPy's arrays say it themselves (`__array_namespace__`); CuPy's do not yet, so the module of their class is asked.
    Raises BackendError for anything that is not an array.
    """
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    library = sys.modules[type(x).__module__.partition(".")[0]]
    if not hasattr(library, "ndarray"):
        raise BackendError(f"expected an array of NumPy or CuPy, got {type(x).__name__}: use backend.asarray(...)")
    return library
