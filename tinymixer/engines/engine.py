"""The contract of an engine: what training and evaluation ask of whatever computes a model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinymixer.data import Augmentation
from tinymixer.data.views import AS_IT_IS, View
from tinymixer.draws import Draws
from tinymixer.models import Model
from tinymixer.optim import Optimizer, WeightAverage
from tinymixer.optim.chunks import ParallelMap
from tinymixer.options import Options, option
from tinymixer.parallel.ranks import ONE_RANK, Ranks

ENGINE_NAMES = ("reference", "cpu", "cuda")


@dataclass(frozen=True)
class EngineOptions(Options):
    """How a step is computed and in which precision. None of these changes what is computed."""

    engine: str = option(
        "auto", "How steps are computed; auto takes the fastest that can.", choices=("auto", *ENGINE_NAMES)
    )
    backend: str = option("auto", "Array library to compute with.", choices=("auto", "numpy", "cupy"))
    kernels: str = option(
        "auto", "Fast kernels where there are any, or plain operations.", choices=("auto", "reference")
    )
    threads: int = option(0, "Threads on the processor; 0 takes one per core.", minimum=0, maximum=1024)
    slice_images: int = option(
        0, "Images a thread on the processor works on at a time; 0 chooses (cpu engine: by the cache).", minimum=0
    )
    dtype: str = option("float32", "Number format of weights and activations.", choices=("float32", "float64"))
    precision: str = option(
        "auto",
        "GPU: number format of activations and products; weights, statistics and losses stay float32. auto: bfloat16 "
        "where the GPU has it, else float16; float32 on the processor.",
        choices=("auto", "float32", "tf32", "bfloat16", "float16"),
    )
    check_kernels: str = option(
        "first",
        "GPU: hold the fused step's gradients to the layers' before training: the first time on this machine, always, "
        "or never.",
        choices=("first", "always", "never"),
    )
    captured: bool = option(True, "GPU: record the step in a CUDA graph and replay it.")
    deterministic: bool = option(True, "GPU: add in a fixed order, so that two runs agree to the last bit.")
    two_streams: bool = option(True, "GPU: compute gradients of weights beside the rest, with the same result.")
    recompute: bool = option(False, "GPU: apply GELU twice instead of keeping its result, to save memory.")


@dataclass(frozen=True)
class Totals:
    """Sums over some steps: the images' losses, correctly classified images, images, and skipped updates.

    gradient_norm   global norm of the last step's gradients before clipping; None where it is not known
    """

    loss_sum: float
    correct: int
    images: int
    skipped: int = 0
    gradient_norm: float | None = None


@dataclass(frozen=True)
class Step:
    """One step of a plan: which images it takes, and what changes from step to step.

    indices         int64 (B,), images of the training set
    epoch, step     step counts within the epoch; both are part of the key of all random numbers
    learning_rate   for this step
    mixed           whether mixup or CutMix, where there is one, is done in this step
    """

    indices: np.ndarray
    epoch: int
    step: int
    learning_rate: float
    mixed: bool = True


@dataclass(frozen=True)
class Work:
    """What all steps of a run have in common.

    images, labels    the training set: uint8 (N, height, width, channels) and int64 (N,)
    mean, std         per channel, of pixels scaled to 0..1
    batch_size        of the whole batch, which the ranks share out
    ranks             the processes that train together
    classes           K, for the soft targets of mixed images
    average           of the weights, which the engine updates after each step that updated the weights; None for none
    sam_rho           how far from the weights the gradient is taken (`optim/sam.py`); 0 takes it at the weights
    """

    images: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    batch_size: int
    augmentation: Augmentation
    label_smoothing: float = 0.0
    micro_batches: int = 1
    seed: int = 0
    ranks: Ranks = ONE_RANK
    classes: int = 0
    average: WeightAverage | None = None
    sam_rho: float = 0.0

    def micro_batches_of(self, images: int) -> int:
        """In how many parts a rank works through its `images` of the batch: as many at a time as one rank would."""
        return -(-self.micro_batches * images // self.batch_size)


class Engine:
    """Computes a model: logits, gradients, whole steps.

    name           of the engine, as `EngineOptions.engine` gives it
    model          the model that it computes; its parameters are read and updated
    parallel_map   a function like `map` that the optimizer's update may use to work on several chunks at once
    note           a sentence for the user where something did not go as planned; else None
    precision      number format of activations and products; "float32" where all are as wide as the weights
    passed_over    why each faster engine could not take the model, by the engine's name

    A faster engine takes only the models that it was written for; `obstacle` says why it cannot take another.
    """

    name: ClassVar[str]
    model: Model
    parallel_map: ParallelMap
    note: str | None = None
    precision: str = "float32"
    passed_over: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def obstacle(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> str | None:
        """Why this engine cannot compute this model with these options; None when it can.

        work, optimizer   of the training run; None where only logits are wanted
        """
        raise NotImplementedError

    @classmethod
    def make(cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None) -> "Engine":
        """Build the engine where there is no obstacle."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """A clause that says how steps are computed, for the first lines of a run."""
        raise NotImplementedError

    @property
    def arithmetic(self) -> dict[str, Any]:
        """The settings that decide how sums are rounded, by name: equal settings give results equal to the bit."""
        return {"engine": self.name}

    def logits(self, images: Any) -> Any:
        """images (B, height, width, in_channels), normalised, on the model's backend  ->  logits (B, K)"""
        raise NotImplementedError

    def loss_and_gradients(
        self, images: Any, labels: Any, label_smoothing: float = 0.0, rng: Draws | None = None, share: float = 1.0
    ) -> tuple[Any, Any]:
        """images (B, ...), labels (B,) or (B, K)  ->  mean loss, images classified correctly.

        Adds the parameters' gradients, times share, to `model.parameters.gradients`, and collects the change of the
        buffers, times share. rng: the `Draws` of these images.
        """
        raise NotImplementedError

    def steps(self, plan: Iterable[Step]) -> Iterator[tuple[int, Totals]]:
        """Take the steps of a plan, in order: yields (steps done, their totals), of one or several steps at a time.

        When the plan ends, every step of it is done and reported. Raises TrainingError for a loss or a gradient that
        is not finite; the weights are then those before that step.
        """
        raise NotImplementedError

    def pixel_logits(
        self,
        images: np.ndarray,
        mean: Any,
        std: Any,
        indices: np.ndarray | None = None,
        batch_size: int = 128,
        stopped: Callable[[], bool] = lambda: False,
        view: View = AS_IT_IS,
    ) -> np.ndarray | None:
        """Logits (N, K) of images uint8 (N, height, width, channels), or of those that the indices choose.

        view   how each image is seen, for test-time augmentation: mirrored, shifted

        None when `stopped()` turned true between two batches.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """What a resumed run needs of the engine to go on exactly, by name: copies on the host; {} for nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned; names that are missing keep their first values, others are left aside.

        Raises CheckpointError for a value that cannot be.
        """

    def refresh(self) -> None:
        """Update the engine's own copies, if any, after weights or optimizer state were loaded from outside."""
