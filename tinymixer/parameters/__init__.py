"""All weights in one flat vector, all gradients in another, all buffers (statistics) in a third, with named views.

So an update takes a few lines of vector code, and clipping, checkpointing and averaging one line each. A view can be
written into but never replaced by another array, which would not be part of the flat vector.
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
