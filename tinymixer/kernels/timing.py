"""Times launches on the GPU without the time that the host needs to launch them.

A kernel of nano takes 6 to 13 microseconds, and Python needs about as long to launch one. An event that is recorded on
an idle stream is reached at once, so that the time to a second event, after the launch, would be mostly the host's.
So a kernel that only waits (`cuda/hold.cu`) goes first, and the start event behind it: while it holds the stream, the
host launches everything, and when it ends, the launches run one after the other. Whether the host was fast enough is
checked each time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.kernels.launch import Launch

HOLD = "hold_stream<float>"  # must be among the kernels
FIRST_CYCLES = 2_000_000  # of a multiprocessor's clock: about a millisecond
MOST_CYCLES = 256 * FIRST_CYCLES
REPEATS = 5


class DeviceTimer:
    """A stopwatch on one CUDA stream. `launch` is that of `Kernels` with `HOLD` among them."""

    def __init__(self, cupy: Any, stream: Any, launch: Callable[..., None]) -> None:
        self._cupy, self._stream, self._launch = cupy, stream, launch
        self._cycles = FIRST_CYCLES

    def seconds(self, work: Callable[[], Any], times: int = 1, repeats: int = REPEATS) -> float:
        """Seconds that `work`'s launches take on the GPU: the shortest of some runs, after one that warms up.

        times   how often a run does the work, one after the other; the result is for one time
        """
        work()
        return min(self._once(work, times) for _ in range(repeats)) / times

    def _once(self, work: Callable[[], Any], times: int) -> float:
        with self._stream:
            while True:
                start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
                self._launch(HOLD, Launch((1, 1), (1, 1)), np.int64(self._cycles))
                start.record(self._stream)
                for _ in range(times):
                    work()
                too_late = start.done  # the stream was no longer held when the last launch came
                end.record(self._stream)
                end.synchronize()
                if not too_late or self._cycles >= MOST_CYCLES:
                    return float(self._cupy.cuda.get_elapsed_time(start, end)) * 1e-3
                self._cycles *= 2
