"""The cuda engine: the captured GPU step, fed with a plan of steps.

It takes the same steps as the reference engine, with the same random numbers, up to STEPS_AT_ONCE at a time. While the
GPU computes them, it draws the numbers of the next ones; it reads losses only after those have been started. So neither
the host nor the GPU waits for the other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from tinymixer.data.batches import mean_colour
from tinymixer.data.views import AS_IT_IS, View
from tinymixer.engines.cuda.device_update import UPDATE_KERNELS
from tinymixer.engines.engine import Engine, EngineOptions, Step, Totals, Work
from tinymixer.models import MlpMixer, Model
from tinymixer.models.stock import difference_from_stock
from tinymixer.optim import Optimizer
from tinymixer.parallel.ranks import share_out

STEPS_AT_ONCE = 32
BATCHES_AT_ONCE = 32  # batches of an evaluation between two calls of `stopped`


class CudaEngine(Engine):
    """Trains a stock MlpMixer by `CapturedStep`.

    Raises BackendError, naming a batch size that fits, when the GPU's memory is too small.
    """

    name = "cuda"

    def __init__(self, model: MlpMixer, options: EngineOptions, work: Work, optimizer: Optimizer) -> None:
        from tinymixer.engines.cuda.captured_step import CapturedStep

        self.model, self._options, self._work = model, options, work
        self._share = work.ranks.part(work.batch_size)  # this rank's part of every batch
        self.captured_step = CapturedStep(
            model,
            optimizer,
            work.images,
            work.labels,
            batch_size=work.batch_size,
            micro_batches=work.micro_batches_of(self._share.stop - self._share.start),
            ranks=work.ranks,
            average=work.average,
            **step_settings(options, work),
        )
        self.parallel_map = map
        self._resident: list[tuple[np.ndarray, Any]] = [(work.images, self.captured_step.training_pixels)]

    @classmethod
    def make(cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None) -> "CudaEngine":
        assert work is not None
        assert optimizer is not None
        assert isinstance(model, MlpMixer)
        return cls(model, options, work, optimizer)

    @classmethod
    def obstacle(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> str | None:
        if model.backend.name != "cupy":
            return "it runs on a GPU (--backend cupy)"
        if work is None or optimizer is None:
            return "it is for training runs"
        for applies, reason in (
            (options.kernels == "reference", "--kernels reference asks for the generic operations"),
            (options.dtype != "float32", "it keeps weights in float32 (--dtype float32)"),
            (
                not _parts_of_one_size(work),
                "it takes parts of one size (--micro-batches must divide the batch)",
            ),
            (work.sam_rho, "it takes one gradient a step, and SAM (sam_rho) needs two"),
            (optimizer.agc, "its kernels do not clip gradients adaptively (agc)"),
            (type(optimizer) not in UPDATE_KERNELS, f"it has no kernel for the update of {type(optimizer).__name__}"),
            (getattr(model.config, "tokens", None) != "mlp", "it was written for MlpMixer with tokens = 'mlp'"),
            (_other_variants(model), "it does not know untied_groups, grouped_channels, gated and layer_scale"),
        ):
            if applies:
                return reason
        return difference_from_stock(model)

    @property
    def description(self) -> str:
        step = self.captured_step
        how = "captured in a CUDA graph" if step.captured else "launched kernel by kernel"
        notes = [note for note in (step.note, step.tiles.note if step.tiles.failed else None) if note]
        return f"fused steps in {self._options.precision}, {how}" + (f" ({'; '.join(notes)})" if notes else "")

    def steps(self, plan: Iterable[Step]) -> Iterator[tuple[int, Totals]]:
        step, work, ranks = self.captured_step, self._work, self._work.ranks
        step.take_loaded_average()
        plan, unread = iter(plan), None  # unread: steps started whose totals are still to be read, and how
        while True:
            ranks.exchange_requests()  # before the plan is asked for more: so all ranks stop after the same step
            numbers = step.draw(list(islice(plan, min(STEPS_AT_ONCE, step.free_slots))), work.seed)
            if numbers:
                step.stage(numbers)
                step.run(len(numbers))
            if unread is not None:
                with ranks.watched("the sums of a step on the GPU"):
                    totals = unread[1]()
                yield unread[0], totals
            if not numbers:
                return
            unread = len(numbers), step.later()

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
        """As `Engine.pixel_logits`, normalised by the training set's mean and std, in batches of the step's size."""
        view.check(*images.shape[1:3])
        chosen = np.arange(len(images)) if indices is None else indices
        resident, rows = self._on_the_device(images), []
        at_once = BATCHES_AT_ONCE * self._work.batch_size
        for start in range(0, len(chosen), at_once):
            if stopped():
                return None
            rows.append(self.captured_step.logits(resident, chosen[start : start + at_once], view))
        return np.concatenate(rows)  # (N, K)

    def _on_the_device(self, images: np.ndarray) -> Any:
        """The images' copy on the GPU, made when they are first asked for."""
        for host, device in self._resident:
            if host is images:
                return device
        self._resident.append((images, self.captured_step.resident(images)))
        return self._resident[-1][1]

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.captured_step.state_dict()

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self.captured_step.load_state_dict(state)

    def refresh(self) -> None:
        self.captured_step.refresh()


def _other_variants(model: Model) -> bool:
    """Whether the model is a variant of the Mixer that its kernels do not compute: they know overlapping windows."""
    return any(name != "overlap" for name in getattr(model.config, "variants", ()))


def _parts_of_one_size(work: Work) -> bool:
    """Whether every rank can work through its part of the batch in micro-batches of one size."""
    shares = (share_out(work.batch_size, rank, work.ranks.size) for rank in range(work.ranks.size))
    sizes = [share.stop - share.start for share in shares]
    return all(size % work.micro_batches_of(size) == 0 for size in sizes)


def step_settings(options: EngineOptions, work: Work) -> dict[str, Any]:
    """What a `CapturedStep` is told of options and work, in training and in its proof alike."""
    return {
        "mean": work.mean,
        "std": work.std,
        "fill": mean_colour(work.mean),
        "augmentation": work.augmentation,
        "label_smoothing": work.label_smoothing,
        "precision": options.precision,
        "captured": options.captured,
        "deterministic": options.deterministic,
        "recompute": options.recompute,
        "two_streams": options.two_streams,
    }
