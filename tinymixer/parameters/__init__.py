"""All weights in one flat vector, all gradients in another, all buffers (statistics) in a third, with named views.

So an update is a handful of vector lines, and clipping, checkpointing and averaging are one line each. A view must
never be replaced by another array: there is no way to assign one, only to write into it.
"""

from tinymixer.parameters.layout import ALIGNMENT
from tinymixer.parameters.parameters import DTYPES, Parameters
from tinymixer.parameters.specification import BufferSpec, Initialise, ParameterSpec, Specification, prefixed

__all__ = [
    "ALIGNMENT",
    "DTYPES",
    "BufferSpec",
    "Initialise",
    "ParameterSpec",
    "Parameters",
    "Specification",
    "prefixed",
]
