"""What the engines on the processor share: a step makes a batch, computes its gradients, and updates."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np

from tinymixer.data import normalise
from tinymixer.data.batches import training_batch
from tinymixer.data.views import AS_IT_IS, View
from tinymixer.draws import Draws
from tinymixer.engines.engine import Engine, Step, Totals, Work
from tinymixer.engines.independence import require_shareable
from tinymixer.engines.step import train_step
from tinymixer.optim import Optimizer


class HostEngine(Engine):
    """Builds `steps` from `loss_and_gradients` and the optimizer's update, and `pixel_logits` from `logits`."""

    work: Work | None = None
    optimizer: Optimizer | None = None
    _shareable = False  # whether the model was found to be one whose batches can be shared out

    def prepared(self, optimizer: Optimizer | None, work: Work | None) -> Self:
        """This engine, for a training run."""
        self.optimizer, self.work = optimizer, work
        return self

    def steps(self, plan: Iterable[Step]) -> Iterator[tuple[int, Totals]]:
        work, optimizer = self.work, self.optimizer
        assert work is not None
        assert optimizer is not None
        backend, dtype, ranks = self.model.backend, self.model.parameters.dtype, work.ranks
        for step in plan:
            count = len(step.indices)
            if ranks.size > 1 and not self._shareable:
                require_shareable(self.model, work, step)
                self._shareable = True
            part = ranks.part(count)
            draws = Draws(work.seed, step.epoch, step.step, np.arange(count))
            images, labels = training_batch(
                work.images,
                work.labels,
                step.indices,
                part,
                work.augmentation,
                draws,
                work.mean,
                work.std,
                work.classes,
                step.mixed,
                dtype,
            )
            result = train_step(
                self,
                optimizer,
                backend.asarray(images),
                backend.asarray(labels),
                step.learning_rate,
                work.label_smoothing,
                draws.part(part),
                work.micro_batches_of(len(images)),
                ranks,
                count,
                work.sam_rho,
            )
            if work.average is not None:
                work.average.step(optimizer.steps, self.parallel_map)
            yield 1, Totals(result.loss * count, result.correct, count, gradient_norm=result.gradient_norm)

    @np.errstate(over="ignore", invalid="ignore")  # the loss shows that a model has diverged
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
        backend, dtype = self.model.backend, self.model.parameters.dtype
        rows = []
        count = len(images) if indices is None else len(indices)
        for start in range(0, count, batch_size):
            if stopped():
                return None
            part = slice(start, start + batch_size)
            pixels = view(images[part] if indices is None else images[indices[part]])  # (B, height, width, channels)
            rows.append(backend.to_numpy(self.logits(backend.asarray(normalise(pixels, mean, std, dtype)))))
        return np.concatenate(rows)  # (N, K)
