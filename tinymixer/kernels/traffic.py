"""Counts the bytes that a kernel launch must move, which, with the copy rate, gives the least time it can take.

Each array counts once if it is read, and once if it is written, whether it comes from memory or a cache. Row
statistics, biases and partial sums are small beside activations and are left out, except for kernels that use nothing
else.
"""

from collections.abc import Sequence
from typing import Any

READ_AND_WRITTEN = {  # kernel -> positions of the arguments that it changes in place
    "bias_gelu_backward": (0,),
    "dropout": (0,),
    "sgd_update": (1, 2),
    "adamw_update": (1, 2, 3),
    "average_weights": (1,),
}
OVER_VECTORS = ("sgd_update", "adamw_update", "copy_weights", "gradient_squares", "average_weights", "muon_polynomial")


def bytes_moved(name: str, arguments: Sequence[Any]) -> int:
    """Bytes moved by a launch.

    name        the kernel's full name, such as "layer_norm_forward<__half, 8, 1, 16>"
    arguments   of the launch
    """
    if name.startswith("finish_sums"):
        return int(arguments[0].nbytes)
    if name.startswith("gather_patches"):
        patches = arguments[3]
        return int(patches.nbytes + patches.size)  # and one byte of the uint8 image per entry
    if name.startswith("augment_images"):  # written in float32, from a byte each; operations stay in the cache
        return int(arguments[4].nbytes + arguments[4].size)
    if name.startswith("mix_patches"):  # from an image and its partner, in float32
        return int(arguments[3].nbytes + 2 * 4 * arguments[3].size)
    if name.startswith(("muon_begin", "muon_update")):  # of the weights, those that are in matrices
        stacks = arguments[6 if name.startswith("muon_begin") else 3]
        copied = name.startswith("muon_update") and arguments[4] is not None
        return int(stacks.nbytes + stacks.size * (2 * 4 + (arguments[4].itemsize if copied else 0)))
    if name.startswith("muon_momentum"):  # as if all weights were in matrices, as nearly all are
        return int(3 * arguments[2].nbytes)
    ndim = 1 if name.startswith(OVER_VECTORS) else 2
    total = sum(argument.nbytes for argument in arguments if getattr(argument, "ndim", 0) >= ndim)
    for kernel, positions in READ_AND_WRITTEN.items():
        if name.startswith(kernel):
            total += sum(arguments[position].nbytes for position in positions)
    return int(total)
