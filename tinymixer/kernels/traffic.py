"""How many bytes a launch has to move: what its time is measured against, beside the copy rate.

Every element that is read or written counts once for each, wherever it comes from. Statistics of rows, biases and
partial sums are small beside activations and left out, except where they are all there is.
"""

from collections.abc import Sequence
from typing import Any

READ_AND_WRITTEN = {  # positions of arguments that a kernel changes in place
    "bias_gelu_backward": (0,),
    "dropout": (0,),
    "sgd_update": (1, 2),
    "adamw_update": (1, 2, 3),
}
OVER_VECTORS = ("sgd_update", "adamw_update", "copy_weights", "gradient_squares")


def bytes_moved(name: str, arguments: Sequence[Any]) -> int:
    """For a kernel's full name, such as "layer_norm_forward<__half, 8, 1>", and its arguments."""
    if name.startswith("finish_sums"):
        return int(arguments[0].nbytes)
    if name.startswith("gather_patches"):
        patches = arguments[3]
        return int(patches.nbytes + patches.size)  # a byte of an image for each entry
    ndim = 1 if name.startswith(OVER_VECTORS) else 2
    total = sum(argument.nbytes for argument in arguments if getattr(argument, "ndim", 0) >= ndim)
    for kernel, positions in READ_AND_WRITTEN.items():
        if name.startswith(kernel):
            total += sum(arguments[position].nbytes for position in positions)
    return int(total)
