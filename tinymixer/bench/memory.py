"""How much memory a process holds now, and held at its peak."""

import sys
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR_REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Restart the measurement of the peak where the system can (Linux); elsewhere it counts from the start."""
    with suppress(OSError):  # no such file, or not ours to write
        CLEAR_REFERENCES.write_text("5")


def held_bytes(peak: bool) -> int | None:
    """Resident bytes of this process, now or at their peak since `reset_peak`; None where the system does not say."""
    if STATUS.exists():
        wanted = "VmHWM:" if peak else "VmRSS:"
        for line in STATUS.read_text().splitlines():
            if line.startswith(wanted):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32" or not peak:
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
