"""The Mixer's step on an ordinary processor, as fast as its matrix products allow. `layers` is the version to read."""

from tinymixer.engines.cpu.cpu_mixer import CpuMixer
from tinymixer.engines.cpu.threads import default_threads

__all__ = ["CpuMixer", "default_threads"]
