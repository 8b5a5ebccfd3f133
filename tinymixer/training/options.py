"""The sections of a recipe: what can be chosen for a training run.

The command line makes its options from what is declared here. Field names are unique over all of these sections, so
that each can be given as `--field-name`; the augmentation's fields stand at `data.Augmentation`, the model's at its
configuration.
"""

from dataclasses import dataclass

from tinymixer.options import Options, option


@dataclass(frozen=True)
class DataOptions(Options):
    """[data]: which images."""

    dataset: str = option("digits", "Data set to train on.", choices=("digits", "cifar10"))
    data: str = option("", "Local archive or folder of the data set; empty means the cache.")


@dataclass(frozen=True)
class OptimizerOptions(Options):
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
class ScheduleOptions(Options):
    """[schedule]: the learning rate over the run."""

    schedule: str = option(
        "cosine", "Course of the learning rate after the warm-up.", choices=("constant", "cosine", "linear")
    )
    warmup_epochs: float = option(0.0, "Epochs over which the learning rate rises to its peak.", minimum=0)
    final_learning_rate: float = option(0.0, "Learning rate at the end of the run (cosine, linear).", minimum=0)


@dataclass(frozen=True)
class TrainingOptions(Options):
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
