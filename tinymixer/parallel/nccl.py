"""Sums over the ranks' GPUs: by NCCL, through nccl4py or CuPy's own binding; without either, through the host.

NCCL adds on the GPUs, in the order of the current stream, and may be recorded in a CUDA graph. It adds in an order that
follows from the machines, the sizes and NCCL's own choices, the same from run to run where these are the same, and all
ranks get the same bits.
"""

import importlib
import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.errors import BackendError, install_line
from tinymixer.parallel.ranks import ManyRanks
from tinymixer.text import reason_of

SUCCESS, IN_PROGRESS = 0, 7  # ncclResult_t


class DeviceSum:
    """Adds up device vectors over the ranks, in place: `sums(gradients, losses)`. Together.

    name         of what does it
    capturable   whether it may be recorded in a CUDA graph
    errors       what it raises, beside RuntimeError
    note         a sentence where the sums take another way than they should; else None
    """

    name = ""
    capturable = False
    errors: tuple[type[Exception], ...] = ()
    note: str | None = None

    def __call__(self, *vectors: Any) -> None:
        raise NotImplementedError

    def failure(self) -> str | None:
        """A sentence where a sum that was started has failed since; None where none has."""
        return None


class HostSum(DeviceSum):
    """Copies the vectors to the host, adds them up there by MPI, and copies the sums back."""

    name = "MPI on the host"

    def __init__(self, ranks: ManyRanks, reason: str) -> None:
        self._ranks = ranks
        self.note = f"gradients are added up on the host, since NCCL cannot be used ({reason})"

    def __call__(self, *vectors: Any) -> None:
        for vector in vectors:
            host = np.ascontiguousarray(vector.get())  # waits for the stream
            self._ranks.sum_in_place(host)
            vector.set(host)


class Nccl4pySum(DeviceSum):
    """NCCL through nccl4py, NVIDIA's own binding."""

    name, capturable = "NCCL (nccl4py)", True

    def __init__(self, ranks: ManyRanks, cupy: Any) -> None:
        self._nccl, self._cupy = importlib.import_module("nccl.core"), cupy
        error = importlib.import_module("nccl.bindings.nccl").NCCLError
        self.errors = (error, self._nccl.NcclInvalid)
        number = ranks.first(lambda: bytes(self._nccl.get_unique_id()))  # on every rank the same
        unique_id = self._nccl.UniqueId.from_bytes(number)
        self._communicator = self._nccl.Communicator.init(nranks=ranks.size, rank=ranks.rank, unique_id=unique_id)

    def __call__(self, *vectors: Any) -> None:
        stream = self._cupy.cuda.get_current_stream().ptr
        with self._nccl.group():  # one launch for all of them
            for vector in vectors:
                self._communicator.allreduce(vector, vector, self._nccl.SUM, stream=stream)

    def failure(self) -> str | None:
        result = self._communicator.get_async_error()
        return None if int(result) in (SUCCESS, IN_PROGRESS) else f"NCCL, which failed ({result})"


class CupyNcclSum(DeviceSum):
    """NCCL through `cupy.cuda.nccl`."""

    name, capturable = "NCCL (CuPy)", True

    def __init__(self, ranks: ManyRanks, cupy: Any) -> None:
        self._nccl, self._cupy = importlib.import_module("cupy.cuda.nccl"), cupy
        self.errors = (self._nccl.NcclError,)
        self._kinds: dict[Any, int] = {np.float32: self._nccl.NCCL_FLOAT32, np.float64: self._nccl.NCCL_FLOAT64}
        self._kinds |= {np.int32: self._nccl.NCCL_INT32}
        unique_id = ranks.first(self._nccl.get_unique_id)
        self._communicator = self._nccl.NcclCommunicator(ranks.size, unique_id, ranks.rank)

    def __call__(self, *vectors: Any) -> None:
        stream = self._cupy.cuda.get_current_stream().ptr
        with self._group():
            for vector in vectors:
                pointer, kind = vector.data.ptr, self._kinds[vector.dtype.type]
                self._communicator.allReduce(pointer, pointer, vector.size, kind, self._nccl.NCCL_SUM, stream)

    @contextmanager
    def _group(self) -> Any:
        self._nccl.groupStart()
        try:
            yield
        finally:
            self._nccl.groupEnd()

    def failure(self) -> str | None:
        try:
            self._communicator.check_async_error()
        except self._nccl.NcclError as error:
            return f"NCCL, which failed ({reason_of(error)})"
        return None


def device_sum(ranks: ManyRanks, cupy: Any) -> DeviceSum:
    """The first of nccl4py, CuPy's NCCL and the host that every rank has. Together.

    Raises BackendError, on all ranks, where NCCL is there and cannot connect them.
    """
    ways: list[tuple[Callable[[], str | None], type[Nccl4pySum | CupyNcclSum]]] = [
        (_why_not_nccl4py, Nccl4pySum),
        (_why_not_cupys, CupyNcclSum),
    ]
    reasons = []
    for why_not, way in ways:
        missing = [reason for reason in ranks.gather(why_not()) if reason is not None]
        if missing:
            reasons.append(missing[0])
            continue
        try:
            made, failed = way(ranks, cupy), None
        except Exception as error:  # of NCCL's own class, CUDA's, or a loader's
            made, failed = None, f"rank {ranks.rank} ({ranks.host}): {reason_of(error)}"
        failures = [text for text in ranks.gather(failed) if text is not None]
        if failures or made is None:
            raise BackendError(
                f"NCCL cannot connect the GPUs of {ranks.size} ranks: {'; '.join(failures)}. NCCL_DEBUG=INFO makes it "
                "say more; TINYMIXER_NCCL=off adds on the host instead"
            )
        return made
    return HostSum(ranks, "; ".join(reasons))


def _why_not_nccl4py() -> str | None:
    if _switched_off():
        return "TINYMIXER_NCCL=off"
    try:
        importlib.import_module("nccl.core")
        importlib.import_module("nccl.bindings.nccl")
    except Exception as error:  # ImportError, or the loader's where libnccl is missing
        return f"nccl4py: {reason_of(error)}; {install_line('nccl13')}, or [nccl12]"
    return None


def _why_not_cupys() -> str | None:
    if _switched_off():
        return "TINYMIXER_NCCL=off"
    try:
        available = importlib.import_module("cupy.cuda.nccl").available
    except Exception as error:
        return f"CuPy's NCCL: {reason_of(error)}"
    return None if available else "CuPy was built without NCCL"


def _switched_off() -> bool:
    return os.environ.get("TINYMIXER_NCCL", "").lower() in ("off", "0", "no")
