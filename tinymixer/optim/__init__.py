"""Update rules over the flat vectors of weights and gradients, and schedules of the learning rate."""

from tinymixer.optim.adamw import AdamW
from tinymixer.optim.averaging import WeightAverage
from tinymixer.optim.clipping import clip_by_global_norm, global_norm
from tinymixer.optim.groups import ParameterGroup
from tinymixer.optim.muon import Muon
from tinymixer.optim.newton_schulz import newton_schulz
from tinymixer.optim.optimizer import Optimizer
from tinymixer.optim.sam import perturbed
from tinymixer.optim.schedules import Schedule, constant, cosine, linear, make_schedule, trapezoid
from tinymixer.optim.sgd import SGD

__all__ = [
    "SGD",
    "AdamW",
    "Muon",
    "Optimizer",
    "ParameterGroup",
    "Schedule",
    "WeightAverage",
    "clip_by_global_norm",
    "constant",
    "cosine",
    "global_norm",
    "linear",
    "make_schedule",
    "newton_schulz",
    "perturbed",
    "trapezoid",
]
