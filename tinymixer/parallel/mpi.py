"""Ranks that MPI started: `mpirun`, `mpiexec`, Slurm's `srun`, or `tinymixer launch`."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.errors import BackendError, install_line
from tinymixer.parallel.launched import UNKNOWN, Launched
from tinymixer.parallel.ranks import ManyRanks, own_cores, share_of_cores, share_out
from tinymixer.parallel.watchdog import Watchdog

PATIENCE = 5.0  # seconds in which the others may end too, before a rank that has failed ends them
LAST_WORDS = 1.0  # seconds for the launcher to pass on what a rank said; at an abort, MPICH's may drop the rest
LONGEST_WAIT = 600.0  # seconds; a step, or rank 0's saving of a checkpoint, takes no longer
SAY = Callable[[str], None]


class MpiRanks(ManyRanks):
    """The processes of MPI's world.

    launched   what the environment says of them; held to what MPI says
    say        receives the last sentence of a rank that ends all of them

    Importing mpi4py initialises MPI, so this happens only in a process that a launcher has started. Raises BackendError
    where mpi4py is missing, cannot be loaded, or belongs to another MPI than the launcher.
    """

    def __init__(self, launched: Launched, say: SAY) -> None:
        try:
            from mpi4py import MPI
            from mpi4py.util.dtlib import from_numpy_dtype
        except ImportError as error:
            raise BackendError(
                f"{launched.by} started this process to train together with others, which takes mpi4py ({error}): "
                f"{install_line('mpi')}, or mpi4py alone where the machine has an MPI of its own"
            ) from error
        world = MPI.COMM_WORLD
        if launched.size not in (world.size, UNKNOWN):
            raise BackendError(
                f"{launched.by} started {launched.size} processes, but MPI, as mpi4py finds it, sees {world.size}: "
                "they belong to different MPI libraries. Use the mpiexec beside this Python (tinymixer launch does), "
                "install mpi4py for the launcher's library, or tell Slurm how to speak to it (srun --mpi=pmi2 or "
                "--mpi=pmix)"
            )
        super().__init__(world.rank, world.size)
        self._mpi, self._kind, self._say = MPI, from_numpy_dtype, say
        self._comm, self._ending = world.Dup(), world.Dup()
        local = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank, self.local_size, self.host = local.rank, local.size, socket.gethostname()
        self.cores = share_of_cores(local.allgather(own_cores()), local.rank)
        self._received = np.empty(0)
        self._watchdog = Watchdog(self._give_up, _longest_wait(), self._device_failure)

    def gather(self, value: Any) -> list[Any]:
        return self._comm.allgather(value)

    def _broadcast(self, value: Any) -> Any:
        return self._comm.bcast(value)

    def _sum_on_host(self, vector: np.ndarray) -> None:
        """Each rank adds up its part of the vector, in the ranks' order, and all exchange their parts.

        MPI's own Allreduce may add in another order from run to run (the standard only recommends that it does not),
        and in an order that depends on the library and on where the ranks run. This way the order is ours. A rank sends
        and receives 2 (size - 1) / size of the vector, as in the best reductions (Thakur et al. 2005).
        """
        cuts = [share_out(vector.size, rank, self.size) for rank in range(self.size)]
        counts, starts = [cut.stop - cut.start for cut in cuts], [cut.start for cut in cuts]
        own = counts[self.rank]
        if self._received.size != self.size * own or self._received.dtype != vector.dtype:
            self._received = np.empty(self.size * own, vector.dtype)
        received, kind = self._received, self._kind(vector.dtype)
        self._comm.Alltoallv(
            [vector, counts, starts, kind],
            [received, [own] * self.size, [own * rank for rank in range(self.size)], kind],
        )
        parts = received.reshape(self.size, own)  # (size, own)
        for part in parts[1:]:
            parts[0] += part
        self._comm.Allgatherv([parts[0], own, kind], [vector, counts, starts, kind])

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        with self._watchdog.watching(what):
            yield

    def ended(self, sentence: str) -> list[str] | None:
        """As `Ranks.ended`. A rank that waits for this one in a sum, say, never comes here."""
        request, until = self._ending.Ibarrier(), time.monotonic() + PATIENCE
        while not request.Test():
            if time.monotonic() > until:
                return None
            time.sleep(0.01)
        return self._ending.allgather(sentence)

    def abort(self, code: int = 1) -> None:
        time.sleep(LAST_WORDS)
        self._mpi.COMM_WORLD.Abort(code)

    def _device_failure(self) -> str | None:
        return None if self._device_sum is None else self._device_sum.failure()

    def _give_up(self, what: str, seconds: float) -> None:
        self._say(
            f"rank {self.rank} of {self.size} on {self.host}: error: it has waited {seconds:.0f} s for {what}, so "
            "another rank has probably died: ending all of them (TINYMIXER_RANK_TIMEOUT sets the seconds)"
        )
        self.abort()


def _longest_wait() -> float:
    try:
        return max(1.0, float(os.environ.get("TINYMIXER_RANK_TIMEOUT", LONGEST_WAIT)))
    except ValueError:
        return LONGEST_WAIT
