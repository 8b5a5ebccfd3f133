"""When the command that this process runs began: a budget of seconds counts from there."""

import contextlib
import os
import time
from pathlib import Path

STARTED = "TINYMIXER_COMMAND_STARTED"  # by the wall clock: `tinymixer launch` tells the processes that it starts
_started: float | None = None


def start_command(is_own_process: bool) -> None:
    """Note that a command begins, before anything of it is loaded.

    is_own_process   whether the process was started for this command: then it began with the process
    """
    global _started
    _started = time.perf_counter() - (_age_of_process() if is_own_process else 0.0)


def command_started() -> float:
    """When the command began, on the clock `time.perf_counter()`; now, where no command was started."""
    now = time.perf_counter()
    told = os.environ.get(STARTED)
    if told is not None:
        with contextlib.suppress(ValueError):
            return now - max(0.0, time.time() - float(told))
    return now if _started is None else _started


def _age_of_process() -> float:
    """Seconds since this process was started, where the system tells (Linux does); else 0."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of the line: in ticks since boot
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
