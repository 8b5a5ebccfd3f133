"""Mutants: wrong backward passes, each with a sentence that says its mistake. They test the gradient checker itself.

The tests demand that the checker catches every mutant and passes the right function at the same inputs. The lessons
compare a reader's wrong gradient with these and say which mistake it looks like.

    for fault in PLANTED_FAULTS:
        print(fault.name, fault.mistake, fault.check().failures[0].check)
"""

from tinymixer.gradcheck.planted_faults import (
    attention,
    blocks,
    contract,
    convolutions,
    gelu,
    layer_norm,
    layers,
    linear,
    loss,
    products,
    relative_attention,
    tokens,
)
from tinymixer.gradcheck.planted_faults.registry import PLANTED, PlantedFault

PLANTED_FAULTS = tuple(PLANTED)

__all__ = [
    "PLANTED_FAULTS",
    "PlantedFault",
    "attention",
    "blocks",
    "contract",
    "convolutions",
    "gelu",
    "layer_norm",
    "layers",
    "linear",
    "loss",
    "products",
    "relative_attention",
    "tokens",
]
