"""Memory that a step frees is kept for the next step, where the C library is glibc."""

import ctypes
import functools
import os

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # mallopt(3); malloc.h
MOST = 2**31 - 1
VARIABLES = ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let malloc keep freed memory instead of giving it back to the system; whether it now does.

    Layers make their arrays anew in every step. glibc gives large ones back to the system when they are freed, and asks
    for them again: the system clears each page before a program sees it, which took a sixth to a third of a step (see
    docs/speed.md). With these settings it keeps what it has, for all threads in one place. The process takes no more
    memory at its peak, but keeps what it took. They hold for the whole process and cannot be undone, so settings that
    the user made (in the environment variables of mallopt(3)) stay as they are.
    """
    if any(name in os.environ for name in VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not on Windows, macOS or musl
        return False
    settings = ((ARENA_MAX, 1), (MMAP_THRESHOLD, MOST), (TRIM_THRESHOLD, MOST))
    return all(mallopt(name, value) == 1 for name, value in settings)
