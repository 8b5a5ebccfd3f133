"""The sections of a recipe: what can be chosen for a training run, with a help text and bounds for every choice.

The command line makes its options, and `Recipe` its checks, from what is declared here. Field names are unique over all
sections (the model's included), so that each can be given as `--field-name`.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinymixer.errors import ConfigError, nearest

KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def option(
    default: Any,
    help: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one field of a section: its default, its help text and the values it may take (`below` is exclusive)."""
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


def check_value(name: str, value: Any, kind: type, metadata: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the field, unless the value is of the field's kind and within its bounds."""
    if type(value) is not kind:
        raise ConfigError(f"'{name}' expects {KIND_NAMES[kind]}, got {value!r}")
    choices = metadata.get("choices", ())
    if choices and value not in choices:
        raise ConfigError(f"'{name}' expects one of {', '.join(choices)}, got '{value}'.{nearest(str(value), choices)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"'{name}' expects a finite number, got {value!r}")
    minimum, maximum, below = metadata.get("minimum"), metadata.get("maximum"), metadata.get("below")
    if minimum is not None and value < minimum:
        raise ConfigError(f"'{name}' expects {minimum} or more, got {value!r}")
    if maximum is not None and value > maximum:
        raise ConfigError(f"'{name}' expects {maximum} or less, got {value!r}")
    if below is not None and value >= below:
        raise ConfigError(f"'{name}' expects less than {below}, got {value!r}")


@dataclass(frozen=True)
class Section:
    """A table of a recipe, which checks its own fields."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_value(field.name, getattr(self, field.name), type(field.default), field.metadata)


@dataclass(frozen=True)
class DataOptions(Section):
    """[data]: which images."""

    dataset: str = option("digits", "Data set to train on.", choices=("digits", "cifar10"))
    data: str = option("", "Local archive or folder of the data set; empty means the cache.")


@dataclass(frozen=True)
class AugmentationOptions(Section):
    """[augmentation]: how training images are varied from epoch to epoch."""

    crop_padding: int = option(0, "Pixels of reflected border for random crops; 0 crops nothing.", minimum=0)
    flip: bool = option(False, "Mirror half of the images, left to right.")
    cutout: int = option(0, "Side in pixels of the square blanked out in each image; 0 blanks nothing.", minimum=0)


@dataclass(frozen=True)
class OptimizerOptions(Section):
    """[optimizer]: the update rule."""

    optimizer: str = option("adamw", "Update rule.", choices=("adamw", "sgd"))
    learning_rate: float = option(1e-3, "Peak learning rate, reached at the end of the warm-up.", minimum=0)
    weight_decay: float = option(0.0, "Strength of the weight decay.", minimum=0)
    decay: str = option("matrices", "Which weights decay.", choices=("matrices", "all", "none"))
    clip_norm: float = option(0.0, "Largest global norm of the gradients; 0 clips nothing.", minimum=0)
    momentum: float = option(0.9, "SGD: share of the last velocity that is kept.", minimum=0, below=1)
    nesterov: bool = option(False, "SGD: look ahead along the velocity (Nesterov).")
    decoupled: bool = option(False, "SGD: shrink weights apart from the gradient instead of adding to it.")
    beta1: float = option(0.9, "AdamW: decay of the mean of the gradients.", minimum=0, below=1)
    beta2: float = option(0.999, "AdamW: decay of the mean of their squares.", minimum=0, below=1)
    adam_eps: float = option(1e-8, "AdamW: added to the denominator.", minimum=0)


@dataclass(frozen=True)
class ScheduleOptions(Section):
    """[schedule]: the learning rate over the run."""

    schedule: str = option(
        "cosine", "Course of the learning rate after the warm-up.", choices=("constant", "cosine", "linear")
    )
    warmup_epochs: float = option(0.0, "Epochs over which the learning rate rises to its peak.", minimum=0)
    final_learning_rate: float = option(0.0, "Learning rate at the end of the run (cosine, linear).", minimum=0)


@dataclass(frozen=True)
class TrainingOptions(Section):
    """[training]: the loop around the steps."""

    epochs: int = option(10, "Passes over the training images.", minimum=1)
    batch_size: int = option(128, "Images per step.", minimum=1)
    micro_batches: int = option(1, "Parts that a batch is worked through in, to save memory.", minimum=1)
    label_smoothing: float = option(0.0, "Share of each target spread evenly over all classes.", minimum=0, below=1)
    seed: int = option(0, "Seed of the initial weights, the order, the augmentation and the masks.", minimum=0)
    eval_batch_size: int = option(128, "Images per batch when the test set is evaluated.", minimum=1)
    checkpoint_every_steps: int = option(0, "Save inside epochs too, every so many steps; 0 never does.", minimum=0)
    backend: str = option("auto", "Array library to compute with.", choices=("auto", "numpy", "cupy"))
    kernels: str = option(
        "auto", "Fast kernels where there are any, or plain operations.", choices=("auto", "reference")
    )
    threads: int = option(0, "Threads on the processor; 0 takes one per core.", minimum=0)
    slice_images: int = option(
        0, "Images a thread on the processor works on at a time; 0 asks the cache: 256 to 512 tokens' worth.", minimum=0
    )
    dtype: str = option("float32", "Number format of weights and activations.", choices=("float32", "float64"))
    precision: str = option(
        "float32",
        "GPU: number format of activations and products; weights, statistics and losses stay float32.",
        choices=("float32", "tf32", "bfloat16", "float16"),
    )
    captured: bool = option(True, "GPU: record the step in a CUDA graph and replay it.")
    deterministic: bool = option(True, "GPU: add in a fixed order, so that two runs agree to the last bit.")
    recompute: bool = option(False, "GPU: apply GELU twice instead of keeping its result, to save memory.")
