"""Published weights: reading other people's files, writing ours for them, and what goes with the weights.

Read `naming.py` first (which array is which), then `load.py`.
"""

from tinymixer.pretrained.export import export_weights
from tinymixer.pretrained.load import find_file, load_weights
from tinymixer.pretrained.model import PretrainedModel
from tinymixer.pretrained.preprocessing import Preprocessing, published

__all__ = ["Preprocessing", "PretrainedModel", "export_weights", "find_file", "load_weights", "published"]
