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


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for an error of the CUDA runtime."""


class CaptureError(CUDARuntimeError):
    """Something was done during a capture that CUDA forbids, or that this stand-in cannot record."""


class Capture:
    """What is recorded meanwhile: pieces of work, each with those that must come before it.

    works       (work, stream, numbers of the works that it waits for)
    frontiers   by stream that takes part: the works that its next one waits for. The first stream began the capture;
                another one joins by waiting for an event of a stream that takes part.
    """

    def __init__(self, origin):
        self.origin, self.works, self.frontiers, self.invalid = origin, [], {origin: frozenset()}, False

    def add(self, stream, work):
        self.works.append((work, stream, self.frontiers[stream]))
        self.frontiers[stream] = frozenset({len(self.works) - 1})

    def unjoined(self):
        """Works that the origin's last one does not wait for."""
        reached, left = set(), list(self.frontiers[self.origin])
        while left:
            if (number := left.pop()) not in reached:
                reached.add(number)
                left += self.works[number][2]
        return set(range(len(self.works))) - reached


class Stream:
    """`null` is the legacy default stream, which waits for every blocking stream and cannot be captured.

    late   a test's wish: work of this stream is done as late as its events allow, so that whoever reads its results, or
           overwrites what it reads, without waiting for it, gets wrong numbers
    held   `hold_stream` was launched, and nobody has waited for the stream since: events recorded now are behind it
    """

    current: "Stream"
    capture: "Capture | None" = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.ptr, self.non_blocking = 0 if null else next(_pointers), non_blocking
        self._outer, self._waiting, self._events = [], [], []
        self.late = self.held = False

    def __enter__(self):
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *error):
        Stream.current = self._outer.pop()

    def do(self, work):
        """Work that is done at once, or recorded."""
        capture = Stream.capture
        if capture is not None and self in capture.frontiers:
            if capture.invalid:
                raise CaptureError("cudaErrorStreamCaptureInvalidated")
            capture.add(self, work)
            return
        if capture is not None and self.ptr == 0 and not capture.origin.non_blocking:
            _refuse("the default stream waits for a stream that is being captured (cudaErrorStreamCaptureImplicit)")
        self._waiting.append(work)
        if not self.late:
            self._settle()

    def do_late(self, work):
        """A copy that nobody waits for: done when somebody does, or when other work of this stream comes."""
        _not_while_capturing("copy")
        self._waiting.append(work)

    def _settle(self, up_to=None):
        """Do what waits, or what had been asked for before an event was recorded."""
        if up_to is not None and up_to not in self._waiting:
            return
        while self._waiting and self._waiting[0] is not up_to:
            work = self._waiting.pop(0)
            if not isinstance(work, Event):
                work()

    def finish(self):
        """The host waits for all of this stream's work."""
        self._settle()
        for event in self._events:
            event.reached = True
        self._events, self.held = [], False

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert Stream.capture is None, "another stream is being captured"
        Stream.capture = Capture(self)

    def end_capture(self):
        capture = Stream.capture
        if capture is None or self not in capture.frontiers:
            raise CUDARuntimeError("cudaErrorIllegalState: this stream is not being captured")
        if capture.origin is not self:
            _refuse("cudaErrorStreamCaptureUnmatched: another stream began this capture")
        Stream.capture = None
        if capture.invalid:
            raise CaptureError("cudaErrorStreamCaptureInvalidated")
        if capture.unjoined():
            raise CaptureError("cudaErrorStreamCaptureUnjoined: work of another stream was not waited for")
        return Graph(capture)

    def is_capturing(self):
        taking_part = Stream.capture is not None and self in Stream.capture.frontiers
        if taking_part and Stream.capture.invalid:  # as CuPy has it
            raise RuntimeError("the stream was capturing, but an error has invalidated the capture sequence")
        return taking_part

    def synchronize(self):
        _not_while_capturing("synchronize")
        self.finish()

    def wait_event(self, event):
        assert event.stream is not None, "a stream waits for an event that was never recorded"
        capture = Stream.capture
        if event.capture is None:
            if capture is not None and self in capture.frontiers:
                _refuse("cudaErrorStreamCaptureIsolation: the event was recorded outside of the capture")
            event.stream._settle(up_to=event)
        elif event.capture is not capture:
            raise CUDARuntimeError("cudaErrorCapturedEvent: the event was recorded in a capture that has ended")
        else:  # joins the capture, if it does not take part yet
            capture.frontiers[self] = capture.frontiers.get(self, frozenset()) | event.frontier


class Graph:
    """Replays what was recorded, in an order that CUDA might choose.

    The works of the stream that began the capture come as early as they may, and those of the others as late, the next
    time the other way round: a result that depends on it lacks a wait.
    """

    def __init__(self, capture):
        self._works, self._origin, self._others_first = capture.works, capture.origin, False

    def launch(self, stream=None):
        stream, done = stream or Stream.current, set()

        def run(number):
            work, _, before = self._works[number]
            for other in sorted(before - done):
                run(other)
            if number not in done:
                done.add(number)
                stream.do(work)

        def first(number):
            return (self._works[number][1] is self._origin) is self._others_first

        for number in sorted(range(len(self._works)), key=lambda number: (first(number), number)):
            run(number)
        self._others_first = not self._others_first


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.stream, self.timed, self.reached = None, not disable_timing, False
        self.capture, self.frontier, self.behind_work = None, frozenset(), False

    def record(self, stream=None):
        stream, capture = stream or Stream.current, Stream.capture
        if self.stream is not None and self in self.stream._waiting:
            self.stream._waiting.remove(self)
        self.stream, self.reached, self.capture, self.behind_work = stream, False, None, stream.held
        if capture is not None and stream in capture.frontiers:
            self.capture, self.frontier = capture, capture.frontiers[stream]
            return
        stream._events.append(self)
        if stream._waiting:
            stream._waiting.append(self)

    @property
    def done(self):
        """On a GPU that had nothing left to do, an event is reached as soon as it is recorded."""
        return self.reached or not self.behind_work

    def synchronize(self):
        _not_while_capturing("wait for an event")
        assert self.stream is not None, "nobody has recorded this event"
        self.stream.finish()


def get_elapsed_time(start_event, end_event):
    """1 millisecond, whatever it was. CUDA answers only for events made for timing, once they were waited for.

    A start event on an idle GPU is reached before the host has launched what is to be timed: then the time is the
    host's. So this stand-in answers only where the start event was recorded behind work.
    """
    for event in (start_event, end_event):
        assert event.timed, "this event was made without timing"
        assert event.reached, "cudaErrorNotReady: wait for the event first"
    assert start_event.behind_work, "the start event was recorded on an idle stream: this times the host's launches"
    return 1.0


Stream.null = Stream.current = Stream(null=True)


def _refuse(why):
    """What is forbidden during a capture also makes the capture invalid: it can only be ended, without a graph."""
    Stream.capture.invalid = True
    raise CaptureError(why)


def _not_while_capturing(what):
    if Stream.capture is not None:
        _refuse(f"while a stream is captured nobody can {what}")


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
LARGE = 16 << 20  # bytes: cuBLAS's workspaces alone are that large here, and filling them would take half a test's time


def allocate(shape, dtype, fill):
    _not_while_capturing("allocate: the step's buffers exist before")
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size > MEMORY.free:
        raise OutOfMemoryError(f"{size} bytes")
    raw = np.full(size + 256, fill, np.uint8) if fill and size < LARGE else np.zeros(size + 256, np.uint8)
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
    if host.flags.f_contiguous and not host.flags.c_contiguous:  # CuPy keeps the order of its memory
        device = allocate(host.T.shape, host.dtype, 0).T
    else:
        device = allocate(host.shape, host.dtype, 0)
    device[...] = host
    return device


def copyto(dst, src, casting="same_kind", where=None):
    dst[...] = src
