"""Each rank computes on a GPU of its own."""

from typing import Any

from tinymixer.errors import BackendError
from tinymixer.parallel.ranks import Ranks


def use_own_gpu(ranks: Ranks, cupy: Any) -> None:
    """Make the machine's GPU of this rank's local number the current one, before anything is put on it. Together.

    Where the launcher shows each rank one GPU alone, as Slurm can, that is the one. Raises BackendError, on all ranks,
    where two would share a GPU: NCCL does not allow it, and it would not be faster.
    """
    count = int(cupy.cuda.runtime.getDeviceCount())
    number = ranks.local_rank % count
    cupy.cuda.Device(number).use()
    taken = ranks.gather((ranks.host, str(cupy.cuda.runtime.deviceGetPCIBusId(number))))
    shared = [place for place in taken if taken.count(place) > 1]
    if shared:
        host, gpus = shared[0][0], len({gpu for machine, gpu in taken if machine == shared[0][0]})
        there = sum(machine == host for machine, _ in taken)
        raise BackendError(
            f"{there} ranks run on {host}, where they see {gpus} GPU{'s' if gpus > 1 else ''}: start one rank per GPU, "
            "or train on the processor (--backend numpy)"
        )
