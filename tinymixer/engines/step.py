"""One training step: the five lines that everything else serves."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.draws import Draws
from tinymixer.engines.gradients import loss_and_gradients
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.layers.layer import Layer
from tinymixer.models import Model
from tinymixer.optim import Optimizer, perturbed
from tinymixer.optim.chunks import ParallelMap
from tinymixer.parallel.ranks import ONE_RANK, Ranks

if TYPE_CHECKING:
    from tinymixer.engines.engine import Engine


@dataclass(frozen=True)
class StepResult:
    """Mean loss over the batch, images classified correctly (with the weights before the update), gradient norm of the
    update, before clipping."""

    loss: float
    correct: int
    gradient_norm: float


@np.errstate(over="ignore", invalid="ignore")  # an overflow raises TrainingError, with step and norm
def train_step(
    model: "Model | Engine",
    optimizer: Optimizer,
    images: Any,
    labels: Any,
    learning_rate: float,
    label_smoothing: float = 0.0,
    rng: Draws | None = None,
    micro_batches: int = 1,
    ranks: Ranks = ONE_RANK,
    batch_size: int | None = None,
    sam_rho: float = 0.0,
) -> StepResult:
    """Forward, loss, backward, update, for a batch on the model's backend.

    model     a model, whose own layers then compute it, or an engine that computes one (`choose_engine`)

    images (B, height, width, channels) in the model's dtype, labels (B,) integers or (B, K) rows of probabilities

    With `micro_batches` above 1 the batch is computed in that many parts. Their gradients are added up, each weighted
    by its share of the images, which gives the whole batch's gradient (to rounding) in a fraction of the memory. `rng`
    draws the masks of dropout and stochastic depth for each part.

    Where several `ranks` train together, the images are this rank's part of a batch of `batch_size`. Gradients and
    losses are added up before clipping, so every rank makes the whole batch's update, and returns its loss.

    With `sam_rho` above 0 (SAM, `optim/sam.py`) the update uses the gradient at other weights, sam_rho further uphill:
    a second pass over the batch, with the same masks. Loss, correct images and the change of the buffers are those of
    the first pass, the gradient norm that of the second.

    Raises TrainingError for a loss or a gradient norm that is not finite, before the weights are touched; ConfigError
    for more parts than images.
    """
    count = labels.shape[0]
    if not 1 <= micro_batches <= count:
        raise ConfigError(f"micro_batches must lie between 1 and the batch's {count} images, got {micro_batches}")
    compute, parallel_map, network = _functions_of(model)
    parameters, to_numpy = network.parameters, network.backend.to_numpy

    def compute_gradients(where: str = "") -> tuple[float, Any, Any]:
        """Gradients of the whole batch, of all ranks, at the present weights: loss, correct images, gradient norm."""
        parameters.zero_gradients()
        parameters.zero_buffer_change()
        loss, correct = 0.0, 0
        for start, stop in _parts(count, micro_batches):
            part, share = slice(start, stop), (stop - start) / (batch_size or count)
            draws = None if rng is None else rng.part(part)
            part_loss, part_correct = compute(images[part], labels[part], label_smoothing, draws, share)
            loss += part_loss * share
            correct += part_correct
        loss, correct = ranks.sum_together([parameters.gradients, parameters.buffer_change], loss, correct)
        loss, norm = float(to_numpy(loss)), optimizer.gradient_norm(parallel_map)
        _require_finite(loss, float(to_numpy(norm)), where, optimizer.steps + 1, learning_rate)
        return loss, correct, norm

    loss, correct, norm = compute_gradients()
    if sam_rho:
        with perturbed(optimizer, sam_rho, norm, parallel_map):
            _, _, norm = compute_gradients(" at SAM's perturbed weights")
    optimizer.step(learning_rate, parallel_map, norm)
    parameters.apply_buffer_change()
    return StepResult(loss, int(to_numpy(correct)), float(to_numpy(norm)))


def _functions_of(model: "Model | Engine") -> tuple[Callable[..., tuple[Any, Any]], ParallelMap, Model]:
    """The function that computes gradients, the map that the update uses, and the model itself."""
    if isinstance(model, Layer):
        return partial(loss_and_gradients, model), map, model
    return model.loss_and_gradients, model.parallel_map, model.model


def _parts(images: int, parts: int) -> Iterable[tuple[int, int]]:
    """Cut a batch into (start, stop) of parts whose sizes differ by at most one."""
    return itertools.pairwise(images * i // parts for i in range(parts + 1))


def _require_finite(loss: float, norm: float, where: str, step: int, learning_rate: float) -> None:
    """Raise TrainingError where one is not finite.

    where   at which weights, if not at the model's own
    """
    for what, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what}{where} became {value} at step {step} (learning rate {learning_rate:.3g}, gradient norm "
                f"{norm:.3g}): try a lower learning_rate, a longer warm-up or a smaller "
                f"{'sam_rho' if where else 'clip_norm'}"
            )
