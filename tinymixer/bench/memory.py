"""How much memory a process holds, and held at most."""

import sys
from pathlib import Path

STATUS, CLEAR_REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Forget the peak so far, where the system can (Linux); elsewhere it is that of the whole process."""
    if CLEAR_REFERENCES.exists():
        CLEAR_REFERENCES.write_text("5")


def held_bytes(peak: bool) -> int | None:
    """Resident bytes of this process, now or at their peak since `reset_peak`; None where nobody tells."""
    if STATUS.exists():
        wanted = "VmHWM:" if peak else "VmRSS:"
        for line in STATUS.read_text().splitlines():
            if line.startswith(wanted):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32" or not peak:
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
