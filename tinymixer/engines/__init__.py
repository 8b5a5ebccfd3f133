"""How a step of a model is computed: by its own layers (`reference.py`), or by a faster engine made for one model.

`choose_engine` picks the fastest engine that can compute a model; `engine.py` is the contract that they share.
"""

from tinymixer.engines.choose import ENGINE_NAMES, choose_engine
from tinymixer.engines.engine import Engine, EngineOptions, Step, Totals, Work
from tinymixer.engines.reference import ReferenceEngine
from tinymixer.engines.step import StepResult, train_step

__all__ = [
    "ENGINE_NAMES",
    "Engine",
    "EngineOptions",
    "ReferenceEngine",
    "Step",
    "StepResult",
    "Totals",
    "Work",
    "choose_engine",
    "train_step",
]
