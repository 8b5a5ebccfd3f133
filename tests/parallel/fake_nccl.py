"""nccl4py and `cupy.cuda.nccl` as stand-ins that really add up, between ranks that are threads on the stand-in GPU.

The stand-in GPU has one current stream for the whole process, so its ranks take turns: one computes at a time, and the
turn passes when a rank waits for the others. `test_nccl.py` holds the calls to the real nccl4py's source.
"""

import contextlib
import itertools
import sys
import threading
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from tests.kernels.fake_cuda import Stream, ndarray
from tests.parallel.thread_ranks import ThreadRanks

TURN = threading.Lock()


class TakingTurns(ThreadRanks):
    """Threads of which one runs at a time, each with the stand-in GPU's streams as it left them."""

    @contextlib.contextmanager
    def running(self):
        here.ranks = self
        with TURN:
            yield

    def meet(self):
        streams = Stream.current, Stream.capture
        TURN.release()
        try:
            super().meet()
        finally:
            TURN.acquire()
            Stream.current, Stream.capture = streams


here = threading.local()  # `ranks`: of the rank that this thread is


class NCCLError(Exception):
    """As in nccl.bindings.nccl: no RuntimeError."""


class NcclInvalid(Exception):  # noqa: N818  the name is nccl4py's
    pass


class Result(IntEnum):
    Success = 0
    SystemError = 2
    InProgress = 7


CALLS = []  # (rank, binding, number of elements, captured) of every sum that was asked for


def _sum(binding, array, stream):
    assert stream == Stream.current.ptr, "a sum on another stream than the step's"
    assert isinstance(array, ndarray), "NCCL takes memory of the device alone"
    assert array.flags.c_contiguous
    ranks = here.ranks
    CALLS.append((ranks.rank, binding, array.size, Stream.capture is not None))

    def add():
        parts = ranks.gather(np.array(array))
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        np.ndarray.__setitem__(array, ..., total)

    Stream.current.do(add)


class UniqueId:
    def __init__(self, number=0):
        self.number = number

    def __bytes__(self):
        return self.number.to_bytes(128, "little")

    @staticmethod
    def from_bytes(b):
        return UniqueId(int.from_bytes(b, "little"))


_numbers = itertools.count(1)


class Communicator:
    """`failing`: what `get_async_error` tells."""

    failing = Result.Success

    @classmethod
    def init(cls, nranks, rank, unique_id, config=None):
        assert (nranks, rank) == (here.ranks.size, here.ranks.rank)
        assert len(set(here.ranks.gather(unique_id.number))) == 1, "the ranks have different ids"
        assert unique_id.number
        return cls()

    def allreduce(self, sendbuf, recvbuf, op, *, stream=None, config=None):
        assert sendbuf is recvbuf
        assert op == "sum"
        _sum("nccl4py", sendbuf, stream)

    def get_async_error(self):
        return self.failing


class NcclCommunicator:
    """CuPy's: it takes addresses, so the stand-in looks the arrays up that `vector.data.ptr` was asked of."""

    def __init__(self, ndev, commId, rank):
        assert (ndev, rank) == (here.ranks.size, here.ranks.rank)
        assert isinstance(commId, tuple)
        assert len(commId) == 128

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):  # noqa: N802
        assert sendbuf == recvbuf
        assert op == 0
        kind = {7: np.float32, 8: np.float64, 2: np.int32}[datatype]
        address = (np.ctypeslib.ctypes.c_byte * (count * np.dtype(kind).itemsize)).from_address(sendbuf)
        _sum("cupy", np.frombuffer(address, kind).view(ndarray), stream)

    def check_async_error(self):
        pass


@contextlib.contextmanager
def fake_nccl(cupy, nccl4py=True, cupys=True):
    """The bindings where `import nccl.core` and `import cupy.cuda.nccl` look, both, one or none of them."""
    core, bindings, errors = ModuleType("nccl.core"), ModuleType("nccl.bindings"), ModuleType("nccl.bindings.nccl")
    core.Communicator, core.UniqueId, core.NcclInvalid, core.SUM = Communicator, UniqueId, NcclInvalid, "sum"
    core.get_unique_id, core.group = lambda: UniqueId(next(_numbers)), contextlib.nullcontext
    errors.NCCLError = NCCLError
    own = SimpleNamespace(
        available=cupys, NcclCommunicator=NcclCommunicator, NcclError=type("NcclError", (RuntimeError,), {}),
        NCCL_INT32=2, NCCL_FLOAT32=7, NCCL_FLOAT64=8, NCCL_SUM=0, groupStart=lambda: None, groupEnd=lambda: None,
        get_unique_id=lambda: (0,) * 128,
    )  # fmt: skip
    names = ("nccl", "nccl.core", "nccl.bindings", "nccl.bindings.nccl")
    modules = (ModuleType("nccl"), core, bindings, errors) if nccl4py else (None,) * 4
    cupy.cuda.runtime.deviceGetPCIBusId = lambda device: f"0000:0{here.ranks.rank}:00.0"
    cupy.cuda.Device.use = lambda device: None
    CALLS.clear()
    with mock.patch.dict(sys.modules, dict(zip(names, modules, strict=True)) | {"cupy.cuda.nccl": own}):
        yield
