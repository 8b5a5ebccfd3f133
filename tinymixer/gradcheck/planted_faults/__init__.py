"""Wrong backward passes, each with the mistake it makes: what the gradient check is itself checked with.

The tests hold the checker to catching each of them and to letting the right function through at the same inputs. A
lesson can compare a reader's wrong gradient with theirs and say which mistake it looks like.

    for fault in PLANTED_FAULTS:
        print(fault.name, fault.mistake, fault.check().failures[0].check)
"""

from tinymixer.gradcheck.planted_faults import blocks, conduct, gelu, layer_norm, layers, linear, loss, tokens
from tinymixer.gradcheck.planted_faults.registry import PLANTED, PlantedFault

PLANTED_FAULTS = tuple(PLANTED)

__all__ = [
    "PLANTED_FAULTS",
    "PlantedFault",
    "blocks",
    "conduct",
    "gelu",
    "layer_norm",
    "layers",
    "linear",
    "loss",
    "tokens",
]
