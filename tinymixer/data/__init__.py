"""Data sets, and how their images become batches: loading, fetching, augmentation, order.

Importing this package and training on the bundled digits need NumPy alone. Fetching needs filelock; reading picture
files needs Pillow.
"""

from tinymixer.data.augmentation import Augmentation, Choices
from tinymixer.data.batches import Batches, epoch_order, steps_per_epoch
from tinymixer.data.dataset import Dataset, normalise
from tinymixer.data.description import DataDescription
from tinymixer.data.fetching import fetch
from tinymixer.data.images import load_image
from tinymixer.data.loading import dataset_info, load_dataset
from tinymixer.data.manifest import DATASETS, cache_folder
from tinymixer.data.randomness import generator

__all__ = [
    "DATASETS",
    "Augmentation",
    "Batches",
    "Choices",
    "DataDescription",
    "Dataset",
    "cache_folder",
    "dataset_info",
    "epoch_order",
    "fetch",
    "generator",
    "load_dataset",
    "load_image",
    "normalise",
    "steps_per_epoch",
]
