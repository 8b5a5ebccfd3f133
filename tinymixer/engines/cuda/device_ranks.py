"""What several ranks add to a step on the GPU: each computes its images, then gradients and losses are added up.

That happens before the step is settled, so that loss, norm, clipping, loss scale and update are the whole batch's, the
same on every rank, and no other kernel knows of ranks. The sums are part of the captured step where NCCL does them.
"""

from typing import Any

from tinymixer.engines.cuda.device_update import DeviceUpdate
from tinymixer.parallel.ranks import Ranks
from tinymixer.parameters import Parameters


class DeviceRanks:
    """The sums of a step over the ranks; with one rank all of this does nothing.

    share    this rank's images in the batch
    update   holds losses and correct answers of the whole batch (B,)

    `losses` and `correct` are the views of this rank's images. `note` says why the sums take another way than NCCL's.
    """

    def __init__(self, cupy: Any, ranks: Ranks, share: slice, update: DeviceUpdate, parameters: Parameters) -> None:
        self._ranks, self._update, self._gradients = ranks, update, parameters.gradients
        self._sum = ranks.sum_on_devices(cupy)
        self.losses, self.correct = update.losses[share], update.correct[share]
        self.note: str | None = None if self._sum is None else self._sum.note
        self.errors: tuple[type[Exception], ...] = () if self._sum is None else self._sum.errors

    @property
    def capturable(self) -> bool:
        return self._sum is None or bool(self._sum.capturable)

    def clear(self) -> None:
        """Set the other ranks' losses to zero, where the sums of the step before stand."""
        if self._sum is not None:
            for vector in (self._update.losses, self._update.correct):
                vector.data.memset_async(0, vector.nbytes)

    def add_up(self) -> None:
        """Replace gradients, losses and correct answers by the whole batch's."""
        if self._sum is not None:
            self._sum(self._gradients, self._update.losses, self._update.correct)

    def all_captured(self, captured: bool) -> bool:
        """Whether every rank has captured the step: NCCL wants all of them to replay a graph, or none."""
        return all(self._ranks.gather(captured))
