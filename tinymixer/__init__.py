"""MLP-Mixer with every gradient written by hand, on NumPy or CuPy.

    MixerConfig, MlpMixer               the model (`tinymixer.models`), made of layers and operations (`tinymixer.ops`)
    Trainer, load_recipe, load_run      train by a recipe, and use what was trained (`tinymixer.training`)
    load_weights, preset                published weights and sizes, "B/16" (`tinymixer.pretrained`, `tinymixer.models`)
    Dataset, load_dataset               pictures and arrays, yours or built in (`tinymixer.data`)
    check_operation, check_layer        is this gradient right? (`tinymixer.gradcheck`)
    get_backend, Backend                NumPy or CuPy (`tinymixer.backend`)
    Parameters, TinymixerError          named weights; what every error of the package is

On the command line: `tinymixer --help`. The course: `tinymixer lessons`, or lessons/README.md in a clone.

Importing this package needs NumPy alone; what else a part needs is imported where it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tinymixer.errors import TinymixerError

if TYPE_CHECKING:
    from tinymixer.backend import Backend, get_backend
    from tinymixer.data import Dataset, load_dataset
    from tinymixer.gradcheck import check_layer, check_operation
    from tinymixer.models import MixerConfig, MlpMixer, preset
    from tinymixer.parameters import Parameters
    from tinymixer.training import Trainer, load_recipe, load_run
    from tinymixer.training.weights import load_weights

__version__ = "0.1.0"

HOMES = {  # name -> the module that it is imported from when it is first asked for
    "Backend": "tinymixer.backend",
    "Dataset": "tinymixer.data",
    "MixerConfig": "tinymixer.models",
    "MlpMixer": "tinymixer.models",
    "Parameters": "tinymixer.parameters",
    "Trainer": "tinymixer.training",
    "check_layer": "tinymixer.gradcheck",
    "check_operation": "tinymixer.gradcheck",
    "get_backend": "tinymixer.backend",
    "load_dataset": "tinymixer.data",
    "load_recipe": "tinymixer.training",
    "load_run": "tinymixer.training",
    "load_weights": "tinymixer.training.weights",
    "preset": "tinymixer.models",
}

__all__ = [
    "Backend",
    "Dataset",
    "MixerConfig",
    "MlpMixer",
    "Parameters",
    "TinymixerError",
    "Trainer",
    "__version__",
    "check_layer",
    "check_operation",
    "get_backend",
    "load_dataset",
    "load_recipe",
    "load_run",
    "load_weights",
    "preset",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'tinymixer' has no attribute '{name}'")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
