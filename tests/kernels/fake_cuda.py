"""Streams, events, captures and memory as CUDA and CuPy keep them, on the host: part of the stand-in `fake_cupy`.

Work is done as soon as it is asked for, except copies that nobody has waited for yet: those wait as long as they may,
so that reading their result too early, or a missing `wait_event`, gives wrong numbers. While a stream is captured its
work is recorded and not done, and what CUDA forbids meanwhile is an error.
"""

import ctypes
import itertools
import weakref
from types import SimpleNamespace

import numpy as np

_pointers = itertools.count(256, 256)


class OutOfMemoryError(MemoryError):
    pass


class CaptureError(Exception):
    """Something was done during a capture that CUDA forbids, or that this stand-in cannot record."""


class Stream:
    """`null` is the legacy default stream, which waits for every blocking stream and cannot be captured."""

    current: "Stream"
    capturing: "Stream | None" = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.ptr, self.non_blocking = 0 if null else next(_pointers), non_blocking
        self.recording, self._outer, self._waiting, self._events = None, [], [], []

    def __enter__(self):
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *error):
        Stream.current = self._outer.pop()

    def do(self, work):
        """Work that is done at once, or recorded."""
        if self.recording is not None:
            self.recording.append(work)
            return
        if Stream.capturing is not None and self.ptr == 0 and not Stream.capturing.non_blocking:
            raise CaptureError("the default stream waits for a stream that is being captured")
        self.finish()
        work()

    def do_late(self, work):
        """A copy that nobody waits for: done when somebody does, or when other work of this stream comes."""
        _not_while_capturing("copy")
        self._waiting.append(work)

    def finish(self):
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()
        for event in self._events:
            event.reached = True
        self._events = []

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert Stream.capturing is None, "another stream is being captured"
        Stream.capturing, self.recording = self, []

    def end_capture(self):
        graph, self.recording, Stream.capturing = Graph(self.recording), None, None
        return graph

    def is_capturing(self):
        return self.recording is not None

    def synchronize(self):
        _not_while_capturing("synchronize")
        self.finish()

    def wait_event(self, event):
        assert event.stream is not None, "a stream waits for an event that was never recorded"
        event.stream.finish()


class Graph:
    def __init__(self, work):
        self.work = work

    def launch(self, stream=None):
        for work in self.work:
            (stream or Stream.current).do(work)


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.stream, self.timed, self.reached = None, not disable_timing, False

    def record(self, stream=None):
        self.stream, self.reached = stream or Stream.current, False
        self.stream._events.append(self)

    def synchronize(self):
        _not_while_capturing("wait for an event")
        assert self.stream is not None, "nobody has recorded this event"
        self.stream.finish()


def get_elapsed_time(start_event, end_event):
    """1 millisecond, whatever it was. CUDA answers only for events made for timing, once they were waited for."""
    for event in (start_event, end_event):
        assert event.timed, "this event was made without timing"
        assert event.reached, "cudaErrorNotReady: wait for the event first"
    return 1.0


Stream.null = Stream.current = Stream(null=True)


def _not_while_capturing(what):
    if Stream.capturing is not None:
        raise CaptureError(f"while a stream is captured nobody can {what}")


# ------------------------------------------------------------------------------------------ memory


class ndarray(np.ndarray):  # noqa: N801  the name is CuPy's
    """An array "on the device": NumPy's, with CuPy's ways in and out."""

    @property
    def data(self):
        pointer, array = self.ctypes.data, self

        def memset_async(value, size, stream=None):
            (stream or Stream.current).do(lambda: ctypes.memset(pointer, value, size))

        return SimpleNamespace(ptr=pointer, array=array, memset_async=memset_async)

    def __array_function__(self, function, types, arguments, keywords):
        result = super().__array_function__(function, types, arguments, keywords)
        return result.view(ndarray) if type(result) is np.ndarray else result  # it stays on the device

    def __setitem__(self, index, value):
        _not_while_capturing("compute with array expressions, as far as this stand-in can record")
        super().__setitem__(index, value)

    def get(self, stream=None, order="C", out=None, blocking=True):
        _not_while_capturing("copy to the host")
        stream = stream or Stream.current
        stream.finish()
        if out is None:
            assert blocking, "a copy nobody waits for needs memory of its own: give out="
            return np.array(self)
        _require_host(out, self)
        values = np.array(self)
        out.view(np.uint8)[...] = 0xFF  # until somebody waits

        def arrive():
            out[...] = values

        stream.do_late(arrive)
        if blocking:
            stream.finish()
        return out

    def set(self, arr, stream=None):
        _not_while_capturing("copy from pageable memory")
        _require_host(arr, self)
        assert self.flags.c_contiguous, "Cannot set to non-contiguous array"
        if stream is None:
            Stream.current.do(lambda: super(ndarray, self).__setitem__(..., arr))
            return
        assert _is_pinned(arr), "a copy beside the GPU's work needs page-locked memory"
        stream.do_late(lambda: super(ndarray, self).__setitem__(..., arr))


def _require_host(array, like):
    if not isinstance(array, np.ndarray) or isinstance(array, ndarray):
        raise TypeError("Only numpy.ndarray can be copied to and from")
    if array.dtype != like.dtype:
        raise TypeError(f"{array.dtype} array cannot be set to {like.dtype} array")
    if array.shape != like.shape:
        raise ValueError(f"Shape mismatch. Old shape: {like.shape}, new shape: {array.shape}")


class PinnedMemory(bytearray):
    pass


def _is_pinned(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, PinnedMemory)


class MemoryPool:
    """Counts what was ever allocated, as if nothing were given back; `held` is what is still in use."""

    def __init__(self):
        self.free, self.allocated = 1 << 30, 0  # bytes of the device that are free; bytes the pool has handed out
        self.held = 0

    def hand_out(self, array):
        self.allocated += array.nbytes
        self.held += array.nbytes
        weakref.finalize(array, self._take_back, array.nbytes)

    def _take_back(self, nbytes):
        self.held -= nbytes

    def total_bytes(self):
        return self.allocated

    used_bytes = total_bytes

    def free_bytes(self):
        return 0

    def free_all_blocks(self, stream=None):
        pass


MEMORY = MemoryPool()


def allocate(shape, dtype, fill):
    _not_while_capturing("allocate: the step's buffers exist before")
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size > MEMORY.free:
        raise OutOfMemoryError(f"{size} bytes")
    raw = np.full(size + 256, fill, np.uint8)
    MEMORY.hand_out(raw)
    start = -raw.ctypes.data % 256  # aligned like CUDA's allocations
    return raw[start : start + size].view(dtype).reshape(shape).view(ndarray)


def zeros(shape, dtype=float, order="C"):
    return allocate(shape, dtype, 0)


def empty(shape, dtype=float, order="C"):
    return allocate(shape, dtype, 0xFF)  # fresh memory is full of NaN


def empty_like(prototype, dtype=None):
    return empty(prototype.shape, dtype or prototype.dtype)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray) and dtype in (None, a.dtype):
        return a
    host = np.asarray(a, dtype)
    device = allocate(host.shape, host.dtype, 0)
    device[...] = host
    return device


def copyto(dst, src, casting="same_kind", where=None):
    dst[...] = src
