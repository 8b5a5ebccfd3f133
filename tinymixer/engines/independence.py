"""Whether a batch of this model can be shared out over ranks: it must give the same gradient whole and in parts."""

import numpy as np

from tinymixer.data.batches import make_batch
from tinymixer.draws import Draws
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.engines.engine import Step, Work
from tinymixer.engines.gradients import TOLERANCES, loss_and_gradients
from tinymixer.errors import TrainingError
from tinymixer.models import Model, has_independent_images

IMAGES = 16  # that are looked at; a model that mixes images shows it with a few


def require_shareable(model: Model, work: Work, step: Step) -> None:
    """Raise TrainingError, on every rank, where ranks would compute something else than one process.

    The first images of a batch go through the model's own layers together, and in two halves. Losses, gradients and the
    change of the buffers must agree: then an image's part of the gradient does not depend on the others, and new
    statistics are linear in the batch's mean, so that sums over ranks are those over the batch. (A mean over a batch is
    such a statistic; batch normalisation, which computes with the batch's own mean, is none.)
    """
    name = type(model).__name__
    if not has_independent_images(model):
        why = " (batch norm computes with the statistics of what it is given)" if model.parameters.buffer_names else ""
        raise TrainingError(
            f"{name} does not say independent_images = True{why}, so its batches cannot be shared out over "
            f"{work.ranks.size} ranks: each would compute something else than the whole batch. Train it in one process"
        )
    backend, parameters = model.backend, model.parameters
    indices = step.indices[: min(IMAGES, len(step.indices))]
    draws = Draws(work.seed, step.epoch, step.step, np.arange(len(indices)))
    pixels = make_batch(work.images, indices, work.augmentation, draws, work.mean, work.std, parameters.dtype)
    images, labels = backend.asarray(pixels), backend.asarray(work.labels[indices])
    whole, half = slice(0, len(indices)), len(indices) // 2
    halves = [slice(0, half), slice(half, len(indices))]
    # On one thread, BLAS's too: the ranks on this machine all do this now, and BLAS would start one per core in each.
    found = ThreadTeam(1).run(
        lambda thread: [_computed(model, images, labels, draws, work, parts) for parts in ([whole], halves)]
    )[0]
    tolerance = TOLERANCES[str(parameters.dtype)]
    for what, together, apart in zip(("its loss", "its gradients", "its buffers"), *found, strict=True):
        if not np.all(np.isfinite(together)):
            continue  # the step itself says that the model has diverged
        if np.linalg.norm(apart - together) > tolerance * float(np.linalg.norm(together)):
            raise TrainingError(
                f"{name} gives other numbers for a batch than for its parts ({what}), so its batches cannot be shared "
                f"out over {work.ranks.size} ranks: its images depend on each other, or its statistics are not linear "
                "in the batch's mean. Train it in one process (and see to independent_images in its class)"
            )


def _computed(
    model: Model, images: np.ndarray, labels: np.ndarray, draws: Draws, work: Work, parts: list[slice]
) -> list[np.ndarray]:
    """Loss (1,), gradients (size,) and the buffers' change (n,), in float64; the model's own are left at zero."""
    parameters, to_numpy = model.parameters, model.backend.to_numpy
    parameters.zero_gradients()
    loss = 0.0
    for part in parts:
        share = (part.stop - part.start) / len(images)
        part_loss, _ = loss_and_gradients(
            model, images[part], labels[part], work.label_smoothing, draws.part(part), share
        )
        loss += float(to_numpy(part_loss)) * share
    change = parameters.buffer_change
    found = [np.array([loss]), to_numpy(parameters.gradients), to_numpy(change)]
    found = [np.array(vector, np.float64) for vector in found]
    parameters.zero_gradients()
    change.fill(0)
    return found
