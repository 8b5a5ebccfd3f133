"""How much cache each thread has, as the system reports it."""

import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LINUX_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Cache:
    """A level of cache: its size, and how many processors share it."""

    level: int
    size: int
    sharers: int

    @property
    def share(self) -> int:
        """Bytes for each thread when every processor runs one."""
        return self.size // self.sharers

    def __str__(self) -> str:
        return f"{self.share / 2**20:.3g} MiB of L{self.level} cache a thread"


@functools.cache
def largest_cache() -> Cache | None:
    """The cache with the largest share for a thread; None where the system does not tell."""
    try:
        caches = _macos_caches() if sys.platform == "darwin" else linux_caches(LINUX_CACHES)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    return max(caches, key=lambda cache: cache.share, default=None)


def linux_caches(folder: Path) -> list[Cache]:
    """What Linux says of the first processor, in a folder like /sys/devices/system/cpu/cpu0/cache."""
    found = []
    for index in sorted(folder.glob("index[0-9]*")):
        kind, level, size, sharers = (
            (index / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list")
        )
        if kind != "Instruction":
            number = int(size[:-1]) * UNITS[size[-1]] if size[-1] in UNITS else int(size)
            found.append(Cache(int(level), number, _count(sharers)))
    return found


def _count(cpu_list: str) -> int:
    """How many processors a list such as "0-3,8" names."""
    ranges = [part.split("-") for part in cpu_list.split(",")]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges)


def _macos_caches() -> list[Cache]:
    """The fast cores' second-level cache on Apple's own processors, the third-level cache on older Macs."""
    for level, size, sharers in (
        (2, "hw.perflevel0.l2cachesize", "hw.perflevel0.cpusperl2"),
        (3, "hw.l3cachesize", "hw.logicalcpu"),
    ):
        asked = ["sysctl", "-n", size, sharers]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=5)
        if done.returncode == 0:
            numbers = [int(line) for line in done.stdout.split()]
            return [Cache(level, *numbers)]
    return []
