"""The batch as the peers take it: cut into patches, with the images first."""

import numpy as np

from tinymixer.bench.work import normalised_images
from tinymixer.models.image_config import PatchConfig
from tinymixer.ops import images_to_windows_forward


def patches_first_batch(config: PatchConfig, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches or windows, float32 (B, S, features), of the images that our own step gets, and labels int64 (B,)."""
    images, labels = normalised_images(config, batch)
    patches, _ = images_to_windows_forward(images, config.patch_size, getattr(config, "overlap", 0))  # (S, B, features)
    return np.ascontiguousarray(patches.transpose(1, 0, 2)), labels
