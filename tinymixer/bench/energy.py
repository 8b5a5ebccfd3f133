"""What the machine itself says about energy: the counters of its processor packages, or of a GPU.

On Linux, the powercap interface shows the counters of RAPL (on processors of Intel and AMD). On many machines only root
may read them, and a virtual machine has none. A GPU's counter is NVML's, read through `nvidia-ml-py` where that is
installed. Where nothing can be read, nothing is told: no energy is estimated from times or data sheets.
"""

import importlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
DOMAIN = re.compile(r"intel-rapl:\d+")  # not "intel-rapl:0:0", which is a part of a package, or its memory
PROCESSORS, GPU = "processor packages (RAPL)", "GPU (NVML)"


@dataclass(frozen=True)
class Counter:
    """A counter of joules.

    read      its joules now; raises whatever goes wrong
    largest   joules at which it starts again from 0
    """

    read: Callable[[], float]
    largest: float = math.inf


class EnergyMeter:
    """Adds up what some counters have counted since it was made.

    source   whose energy it is, in words; "" where nothing is told

    Read it more often than a counter goes round: a package's does so once in many minutes.
    """

    def __init__(self, counters: Sequence[Counter] = (), source: str = "") -> None:
        self.counters, self.total = counters, 0.0
        self.before = self._read() if counters else None
        self.source = source if self.before is not None else ""

    def joules(self) -> float | None:
        """Joules since the meter was made; None where a counter cannot be read, now or earlier."""
        if self.before is None:
            return None
        now = self._read()
        if now is not None:
            for counter, last, value in zip(self.counters, self.before, now, strict=True):
                self.total += value - last + (counter.largest if value < last else 0.0)
        self.before = now
        return None if now is None else self.total

    def _read(self) -> list[float] | None:
        try:
            return [counter.read() for counter in self.counters]
        except Exception:  # not ours to read, no such file, a driver's own error: a measurement goes on without joules
            return None


def processor_meter(folder: Path = POWERCAP) -> EnergyMeter:
    """A meter of all processor packages, without the memory chips; one that tells nothing where they do not."""
    try:
        domains = sorted(path for path in folder.iterdir() if DOMAIN.fullmatch(path.name))
        # Another domain, "psys", counts the whole board, and so the packages once more.
        packages = [path for path in domains if (path / "name").read_text().startswith("package")]
        counters = [Counter(_reader(path), _joules(path / "max_energy_range_uj")) for path in packages]
    except (OSError, ValueError):
        return EnergyMeter()
    return EnergyMeter(counters, PROCESSORS)


def gpu_meter() -> EnergyMeter:
    """A meter of the GPU that CuPy computes on; one that tells nothing where NVML or its Python package is missing."""
    try:
        nvml, cupy = (importlib.import_module(name) for name in ("pynvml", "cupy"))
        nvml.nvmlInit()
        device: Any = nvml.nvmlDeviceGetHandleByPciBusId(cupy.cuda.Device().pci_bus_id)
    except Exception:  # no such package, no driver, a device that NVML does not show
        return EnergyMeter()
    return EnergyMeter([Counter(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1000)], GPU)


def _reader(domain: Path) -> Callable[[], float]:
    return lambda: _joules(domain / "energy_uj")


def _joules(path: Path) -> float:
    return int(path.read_text()) / 1e6
