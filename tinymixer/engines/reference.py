"""The engine to read: the model's own layers. Tests compare every faster engine with it."""

import itertools
from typing import Any

import numpy as np

from tinymixer.abilities import has_threads
from tinymixer.draws import Draws
from tinymixer.engines.cpu.threads import ThreadTeam, default_threads
from tinymixer.engines.engine import EngineOptions, Work
from tinymixer.engines.gradients import TOLERANCES, loss_and_gradients
from tinymixer.engines.host_engine import HostEngine
from tinymixer.engines.slicing import Replicas, why_not_sliced
from tinymixer.models import Model, has_independent_images
from tinymixer.optim import Optimizer
from tinymixer.text import counted

# For gradients where images meet in batch norm. Rounding moves some inputs of ReLU across 0, and batch norm passes that
# on to all images: in float32 a ResNet's or BoTNet's gradients are off by 0.4 to 1.2 %, whole or in slices, measured
# against float64. Its loss and statistics are held to TOLERANCES.
SENSITIVE_GRADIENTS = {"float32": 0.1, "float64": 1e-10}
SLICE_IMAGES = 16  # few enough for the cache, enough that NumPy's calls cost little


class ReferenceEngine(HostEngine):
    """Computes any model by its own layers.

    model          the model whose `forward` and `backward` are called
    threads        number of threads; 0 takes one per core
    slice_images   images in a slice; 0 takes SLICE_IMAGES

    Where the model says that its images are independent of each other, and computes on NumPy, several threads compute
    slices of the batch at once, each with a replica of the model that has its own gradients, and with operations in few
    passes (`sliced/`). Where it says that images meet in batch norm alone, each thread computes one slice, all at the
    same time, and they share batch norm's sums. The engine checks what the model says: it also computes the first batch
    whole, by the plain operations. If the two results differ, or the model stores something of the data in an
    attribute, all batches are computed whole and `note` says so.
    """

    name = "reference"

    def __init__(self, model: Model, threads: int = 0, slice_images: int = 0) -> None:
        self.model = model
        self._meets = not has_independent_images(model)  # in batch norm: threads compute their slices at the same time
        # Threads that meet wait for each other. Without any, one slice after the other would wait for ever.
        self.threads = 1 if self._meets and not has_threads() else threads or default_threads()
        self.slice_images = slice_images or SLICE_IMAGES
        self._team = ThreadTeam(self.threads)
        self.parallel_map = self._team.parallel_map if model.backend.xp is np else map
        self._replicas: Replicas | None = None
        self._why_whole = why_not_sliced(model)  # why batches are computed whole; None: they are sliced
        self._checked: set[str] = set()

    @classmethod
    def make(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> "ReferenceEngine":
        return cls(model, options.threads, options.slice_images).prepared(optimizer, work)

    @classmethod
    def obstacle(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> str | None:
        if options.precision not in ("auto", "float32"):
            return f"precision '{options.precision}' belongs to the cuda engine"
        return None

    @property
    def description(self) -> str:
        if self._why_whole is not None:
            return f"layer by layer, batches whole ({self._why_whole})"
        if self._meets:
            return f"layer by layer, the batch on {counted(self.threads, 'thread')}, which share batch norm's sums"
        return f"layer by layer, in slices of {self.slice_images} on {counted(self.threads, 'thread')}"

    @property
    def arithmetic(self) -> dict[str, Any]:
        whole = {"engine": self.name, "backend": self.model.backend.name}
        return whole if self._why_whole else whole | {"threads": self.threads, "slice_images": self.slice_images}

    # ---------------------------------------------------------------------------------------------------- the model

    def logits(self, images: Any) -> Any:
        if self._stays_whole(images):
            return self.model.forward(images)[0]
        logits = self._sliced_logits(images)
        if "logits" not in self._checked:
            self._checked.add("logits")
            whole = self.model.forward(images)[0]  # (B, K)
            if not self._agrees(logits=(logits, whole)):
                return whole
        return logits

    def loss_and_gradients(
        self, images: Any, labels: Any, label_smoothing: float = 0.0, rng: Draws | None = None, share: float = 1.0
    ) -> tuple[Any, Any]:
        if self._stays_whole(images):
            return loss_and_gradients(self.model, images, labels, label_smoothing, rng, share)
        if "gradients" in self._checked:
            return self._sliced(images, labels, label_smoothing, rng, share)
        self._checked.add("gradients")
        return self._checked_against_whole(images, labels, label_smoothing, rng, share)

    # --------------------------------------------------------------------------------------------------- its slices

    def _stays_whole(self, images: Any) -> bool:
        return self._why_whole is not None or len(images) <= 1

    def _made_replicas(self) -> Replicas | None:
        """The replicas, made at first use; None, and a note that says why, where the model cannot be copied."""
        if self._replicas is None:
            made = Replicas.of(self.model, self.threads)
            if isinstance(made, str):
                self._stay_whole(made)
                return None
            self._replicas = made
        return self._replicas

    def _stay_whole(self, reason: str) -> None:
        self._why_whole, self._replicas = reason, None
        self.note = f"batches are computed whole, not in slices on several threads: {reason}"

    def _agrees(self, **pairs: tuple[Any, Any]) -> bool:
        """Whether results, (in slices, whole) by name, are equal to rounding and no replica has changed attributes."""
        replicas, dtype = self._replicas, str(self.model.parameters.dtype)
        reason = None if replicas is None else replicas.changed_state()
        tolerances = dict.fromkeys(pairs, TOLERANCES[dtype])
        if self._meets and "gradients" in pairs:
            tolerances["gradients"] = SENSITIVE_GRADIENTS[dtype]
        if reason is None and not all(close(*pair, tolerances[name]) for name, pair in pairs.items()):
            name = type(self.model).__name__
            reason = (
                f"{name} gives other numbers in slices than for the whole batch, so its images meet elsewhere than in "
                "batch norm (set meets_in_batch_norm = False in its class)"
                if self._meets
                else f"{name} gives other numbers for a slice than for the whole batch, so its images are not "
                "independent (set independent_images = False in its class)"
            )
        if reason is not None:
            self._stay_whole(reason)
        return reason is None

    def _checked_against_whole(
        self, images: Any, labels: Any, label_smoothing: float, rng: Draws | None, share: float
    ) -> tuple[Any, Any]:
        """Compute the first batch whole and in slices. If they agree, the slices' results are returned: so the first
        batch is computed like the others, and a resumed run like an uninterrupted one.
        """
        parameters = self.model.parameters
        vectors = parameters.gradients, parameters.buffer_change
        before = [vector.copy() for vector in vectors]
        results, sums = [], []
        for compute in (self._whole_on_one_thread, self._sliced):
            for vector, value in zip(vectors, before, strict=True):
                vector[...] = value
            results.append(compute(images, labels, label_smoothing, rng, share))
            sums.append([vector.copy() for vector in vectors])
            if self._why_whole is not None:  # the model could not be copied
                break
        else:
            whole, sliced = [
                {
                    "loss": np.array([float(loss)]),
                    "statistics": statistics - before[1],
                    "gradients": gradients - before[0],
                }
                for (loss, _), (gradients, statistics) in zip(results, sums, strict=True)
            ]
            if self._agrees(**{name: (sliced[name], whole[name]) for name in whole}):
                return results[1]
        for vector, value in zip(vectors, sums[0], strict=True):
            vector[...] = value
        return results[0]

    def _whole_on_one_thread(self, *batch: Any) -> tuple[Any, Any]:
        """The model's own layers. BLAS has one thread: on a busy machine two wait for each other in every product."""
        whole: tuple[Any, Any] = ThreadTeam(1).run(lambda thread: loss_and_gradients(self.model, *batch))[0]
        return whole

    def _sliced_logits(self, images: Any) -> Any:
        replicas = self._made_replicas()
        if replicas is None:
            return self.model.forward(images)[0]

        def work(thread: int, slices: list[slice]) -> list[Any]:
            return [replicas.models[thread].forward(images[part])[0] for part in slices]

        replicas.take_buffers()
        rows = self._team.run(work, self._shares(len(images), self.slice_images))
        return np.concatenate([row for thread_rows in rows for row in thread_rows])  # (B, K)

    def _sliced(
        self, images: Any, labels: Any, label_smoothing: float, rng: Draws | None, share: float
    ) -> tuple[Any, Any]:
        replicas, count = self._made_replicas(), len(images)
        if replicas is None:
            return loss_and_gradients(self.model, images, labels, label_smoothing, rng, share)

        def work(thread: int, slices: list[slice]) -> tuple[float, int]:
            loss, correct = 0.0, 0
            for part in slices:
                weight = (part.stop - part.start) / count
                draws = None if rng is None else rng.part(part)
                part_loss, part_correct = loss_and_gradients(
                    replicas.models[thread], images[part], labels[part], label_smoothing, draws, share * weight
                )
                loss += float(part_loss) * weight
                correct += int(part_correct)
            return loss, correct

        replicas.take_buffers()
        results = replicas.run(self._team, work, self._shares(count, None if self._meets else self.slice_images))
        replicas.add_up(self.parallel_map)
        return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    def _shares(self, count: int, most: int | None) -> list[list[slice]]:
        """The images in slices of about equal length, of at most `most`: a list of slices for each thread.

        None gives each thread one slice.
        """
        shares = []
        for start, stop in _cut(0, count, self.threads):
            parts = -(-(stop - start) // (most or count))
            shares.append([slice(*pair) for pair in _cut(start, stop, parts)])
        return shares


def _cut(start: int, stop: int, parts: int) -> Any:
    """Split start to stop into `parts` ranges whose lengths differ by at most one."""
    return itertools.pairwise(start + (stop - start) * i // parts for i in range(parts + 1)) if parts else ()


def close(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays are equal to rounding: the norm of their difference, relative to the norm of `other`."""
    if not (np.all(np.isfinite(one)) and np.all(np.isfinite(other))):
        return True  # diverged: the loss says so, whole or in slices
    distance = np.linalg.norm(np.subtract(one, other, dtype=np.float64))
    return bool(distance <= tolerance * np.linalg.norm(other.astype(np.float64)))
