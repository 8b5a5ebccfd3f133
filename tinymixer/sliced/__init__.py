"""The Mixer's step on an ordinary processor, as fast as its matrix products allow. `layers` is the version to read."""

from tinymixer.sliced.sliced_mixer import SlicedMixer
from tinymixer.sliced.threads import default_threads

__all__ = ["SlicedMixer", "default_threads"]
