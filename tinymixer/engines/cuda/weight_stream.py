"""A second CUDA stream for the products that make gradients of weights.

Nothing of the backward pass waits for the gradient of a weight, and such a product alone leaves much of a GPU idle: its
result is small, so that few blocks are at work, each with a long sum. On a stream of its own it runs beside the kernels
that follow. Numbers do not change, since the same products are computed, each by itself.

The second stream begins a product when the main one has come that far (fork), and the main one waits for it before it
overwrites what the product reads, and at the end of the backward pass (join). Both are events, which a CUDA graph
records as edges. A capture must not end before the join: CUDA would refuse it (cudaErrorStreamCaptureUnjoined).
"""

from collections.abc import Callable
from typing import Any


class WeightStream:
    """Products beside the main stream.

    main       the stream that runs everything else
    stream     the second one
    multiply   a product on the second stream (`Products.multiply` of a handle of its own)
    """

    def __init__(self, cupy: Any, main: Any, stream: Any, multiply: Callable[..., None]) -> None:
        self._cupy, self._main, self.stream, self._multiply = cupy, main, stream, multiply
        self._fork, self._end = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self._read: dict[str, Any] = {}  # by name of a buffer: recorded after the last product that reads it
        self._unread: set[str] = set()  # buffers with such a product since the main stream last waited

    def begin(self) -> None:
        """Forget what a pass that was broken off left behind: nobody can wait for events of a capture that failed."""
        self._unread.clear()

    def multiply(self, a: Any, b: Any, reads: str, **options: Any) -> None:
        """A product of what the main stream has computed so far.

        reads   a name for the buffer among the factors that will be written again
        """
        self._fork.record(self._main)
        self.stream.wait_event(self._fork)
        with self.stream:
            self._multiply(a, b, **options)
        if reads not in self._read:
            self._read[reads] = self._cupy.cuda.Event(disable_timing=True)
        self._read[reads].record(self.stream)
        self._unread.add(reads)

    def wait_for_readers(self, name: str) -> None:
        """Make the main stream wait for the products that read this buffer, before it writes there."""
        if name in self._unread:
            self._unread.discard(name)
            self._main.wait_event(self._read[name])

    def join(self) -> None:
        """Make the main stream wait for everything of the second one."""
        if self._unread:
            self._unread.clear()
            self._end.record(self.stream)
            self._main.wait_event(self._end)
