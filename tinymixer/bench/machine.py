"""What machine this is, as far as a measured number depends on it."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The manufacturer's name for the processor where it can be read; otherwise the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
