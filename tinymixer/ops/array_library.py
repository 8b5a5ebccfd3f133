"""The part of the array library that the operations, layers and optimizers may use.

NumPy and CuPy share far more; a short list keeps the code readable and every other array library within reach. The
tests run everything on a stand-in library that has these names and no others, and that refuses to become a NumPy
array behind our back (`tests/strict_arrays.py`). Whoever needs another name adds it here, after checking that
CuPy has it with the same arguments.
"""

FUNCTIONS = frozenset(
    {
        "abs",
        "arange",
        "argmax",
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

METHODS = frozenset({"astype", "copy", "fill", "reshape", "transpose"})

ATTRIBUTES = frozenset({"T", "dtype", "itemsize", "nbytes", "ndim", "shape", "size"})

# Arithmetic, comparison, @, indexing with slices and integers, and the in-place forms of arithmetic are allowed too.
