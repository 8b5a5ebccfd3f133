"""Whether this process is one of several that a launcher has started, as its environment says."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinymixer.parallel.ranks import Ranks

UNKNOWN = 0  # a size that the environment does not tell: MPI does
OFF = "TINYMIXER_PARALLEL"  # "off": train alone, whatever the environment says

# Who sets which variables: the rank, and the number of ranks. MPICH's and Intel's Hydra; Open MPI and PRRTE; Slurm. In
# a batch script, outside of srun, Slurm describes the whole job under SLURM_NTASKS; only a step, begun by srun, has
# SLURM_STEP_NUM_TASKS. So a plain `tinymixer train` in a batch script trains in one process, as it reads.
LAUNCHERS = (
    ("mpiexec", "PMI_RANK", ("PMI_SIZE",)),
    ("mpirun", "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
    ("srun", "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS",)),
)
PMIX_RANK = "PMIX_RANK"  # of any launcher that speaks PMIx, which tells the number of ranks to MPI alone


@dataclass(frozen=True)
class Launched:
    """This process's place among those that were started together, and by what."""

    by: str
    rank: int
    size: int


def launched_here(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """What the environment says; None for a process that trains alone, also where a launcher started only one."""
    if environment.get(OFF, "").lower() in ("off", "0", "no"):
        return None
    for by, rank_name, size_names in LAUNCHERS:
        rank = _number(environment.get(rank_name))
        size = next((n for n in map(_number, map(environment.get, size_names)) if n is not None), None)
        if rank is not None and size is not None and size > 1 and 0 <= rank < size:
            return Launched(by, rank, size)
        if rank is not None and size is not None:
            return None  # one process
    rank = _number(environment.get(PMIX_RANK))
    return None if rank is None else Launched("a PMIx launcher", rank, UNKNOWN)


def launched_ranks(say: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> "Ranks":
    """The ranks that this process is one of: `ONE_RANK` where no launcher has started it; then MPI is not loaded.

    say   receives the last sentence of a rank that has to end all of them

    Raises BackendError where a launcher has, and mpi4py cannot be used.
    """
    from tinymixer.parallel.ranks import ONE_RANK

    launched = launched_here(environment)
    if launched is None:
        return ONE_RANK
    from tinymixer.parallel.mpi import MpiRanks

    ranks = MpiRanks(launched, say)
    return ONE_RANK if ranks.size == 1 else ranks


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
