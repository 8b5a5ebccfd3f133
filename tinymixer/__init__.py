"""MLP-Mixer with every gradient written by hand, on NumPy or CuPy.

Importing this package needs NumPy alone; the command line, data fetching, pictures and GPU support import what they
need where they use it.
"""

from tinymixer.backend import Backend, get_backend
from tinymixer.errors import TinymixerError
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.parameters import Parameters

__version__ = "0.1.0"

__all__ = ["Backend", "MixerConfig", "MlpMixer", "Parameters", "TinymixerError", "__version__", "get_backend"]
