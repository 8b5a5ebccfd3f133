"""The sections of a recipe: all fields that can be set for a training run.

The command line makes its options from the fields declared here, in `data.Augmentation`, in `engines.EngineOptions` and
in the models' configurations.
"""

from dataclasses import dataclass

from tinymixer.data import DATASETS
from tinymixer.engines import EngineOptions
from tinymixer.models.resolution import WAYS
from tinymixer.options import Options, option


@dataclass(frozen=True)
class DataOptions(Options):
    """[data]: the images, and how many of them are for validation and for testing."""

    dataset: str = option("digits", "Data set to train on; own for your own images.", choices=(*DATASETS, "own"))
    data: str = option(
        "",
        "Your own images (a folder with a subfolder per class, or an .npz file), or the data set's archive or folder; "
        "without it, the cache.",
    )
    colours: str = option("auto", "Own pictures: read as grey or in colour.", choices=("auto", "grey", "colour"))
    fit: str = option("crop", "Own pictures: cut to a square, or squeezed into one.", choices=("crop", "squeeze"))
    test_share: float = option(
        0.2, "Own images without a test set: share of each class held back as one.", minimum=0, below=1
    )
    validation_share: float = option(
        0.1, "Share of each class's training images held back for validation; 0 holds back none.", minimum=0, below=1
    )


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """[optimizer]: the update rule."""

    optimizer: str = option("adamw", "Update rule.", choices=("adamw", "muon", "sgd"))
    learning_rate: float = option(1e-3, "Peak learning rate, reached at the end of the warm-up.", minimum=0)
    weight_decay: float = option(0.0, "Strength of the weight decay.", minimum=0)
    decay: str = option("matrices", "Which weights decay.", choices=("matrices", "all", "none"))
    clip_norm: float = option(0.0, "Largest global norm of the gradients; 0 clips nothing.", minimum=0)
    agc: float = option(
        0.0, "Largest norm of a unit's gradient beside its weights' (adaptive clipping); 0 clips nothing.", minimum=0
    )
    momentum: float = option(0.9, "SGD: share of the last velocity that is kept.", minimum=0, below=1)
    nesterov: bool = option(False, "SGD: look ahead along the velocity (Nesterov).")
    decoupled: bool = option(False, "SGD: shrink the weights directly instead of adding the decay to the gradient.")
    muon_momentum: float = option(0.95, "Muon: share of the last velocity that is kept.", minimum=0, below=1)
    newton_schulz_steps: int = option(5, "Muon: steps that make an update orthogonal, 3 or 5.", minimum=3, maximum=5)
    beta1: float = option(0.9, "AdamW: decay of the mean of the gradients.", minimum=0, below=1)
    beta2: float = option(0.999, "AdamW: decay of the mean of their squares.", minimum=0, below=1)
    adam_eps: float = option(1e-8, "AdamW: added to the denominator.", above=0)
    ema_decay: float = option(
        0.0,
        "Average the weights: the share of the average that an update keeps; 0 averages nothing.",
        minimum=0,
        below=1,
    )
    ema_every: int = option(5, "Steps between two updates of the average.", minimum=1)
    sam_rho: float = option(
        0.0,
        "Sharpness-aware minimisation: take the gradient this far uphill from the weights, in a second pass (usual: "
        "0.05 to 0.2); 0 takes it at the weights.",
        minimum=0,
    )


@dataclass(frozen=True)
class ScheduleOptions(Options):
    """[schedule]: the learning rate over the run."""

    schedule: str = option(
        "cosine",
        "How the learning rate falls after the warm-up.",
        choices=("constant", "cosine", "linear", "trapezoid"),
    )
    warmup_epochs: float = option(0.0, "Epochs over which the learning rate rises to its peak.", minimum=0)
    final_learning_rate: float = option(0.0, "Learning rate at the end of the run (not constant).", minimum=0)
    cooldown_share: float = option(
        0.4, "Share of the run over which the rate falls at its end (trapezoid).", above=0, maximum=1
    )


@dataclass(frozen=True)
class TrainingOptions(EngineOptions):
    """[training]: the training loop, and how its steps are computed."""

    epochs: int = option(
        10, "Passes over the training images, where neither steps nor seconds say how long the run is.", minimum=1
    )
    steps: int = option(
        0, "Length of the run in steps, so that the last epoch may be a part of one; 0: epochs decide.", minimum=0
    )
    seconds: float = option(
        0.0,
        "Length of the run in seconds, from the command to the test figure: some steps are measured at the start, and "
        "the number that fits is written into config.toml as steps; 0: steps or epochs decide.",
        minimum=0,
    )
    batch_size: int = option(128, "Images per step.", minimum=1)
    micro_batches: int = option(1, "Parts that a batch is computed in, to save memory.", minimum=1)
    label_smoothing: float = option(0.0, "Share of each target spread evenly over all classes.", minimum=0, below=1)
    patience: int = option(0, "Stop after this many epochs without a lower validation loss; 0 never stops.", minimum=0)
    seed: int = option(
        0, "Seed of the initial weights, the splits, the order of images and all other random numbers.", minimum=0
    )
    eval_batch_size: int = option(128, "Images per batch when a model is evaluated.", minimum=1)
    checkpoint_every_steps: int = option(
        0, "Also save within epochs, every this many steps; 0 saves after epochs only.", minimum=0
    )
    step_rows: int = option(
        0, "Also write a row into metrics.jsonl every this many steps; 0 writes a row per epoch only.", minimum=0
    )


@dataclass(frozen=True)
class FineTuningOptions(Options):
    """[fine_tuning]: how a run starts from trained weights, and which of them it trains."""

    init_from: str = option(
        "none",
        "Weights to start from: a run's folder, a checkpoint, a file or the name of published weights, first-mixer (a "
        "small Mixer that comes with tinymixer), or none. Arrays of the same name and shape are loaded; the others are "
        "named.",
    )
    sizes_from: str = option(
        "recipe",
        "Take the model's sizes from the recipe, or from the weights that the run starts from.",
        choices=("recipe", "weights"),
    )
    resize_tokens: str = option(
        "auto",
        "Token mixing for images of another size than the weights': auto expands it exactly for whole ratios and "
        "interpolates for others; interpolate always interpolates; off initialises it anew.",
        choices=WAYS,
    )
    new_head: bool = option(False, "Start with a head of zeros, even where the classes are the weights'.")
    freeze: str = option("", "Parts that are not trained, such as stem,blocks.0.")
    learning_rate_factors: str = option(
        "", "Parts whose learning rate is multiplied by a factor, such as stem=0.1,head=10."
    )

    def require_consistent(self) -> None:
        """Raise ConfigError where `learning_rate_factors` cannot be read."""
        from tinymixer.training.parts import factors_of

        factors_of(self.learning_rate_factors)
