"""The batch as the peers take it: cut into patches, with the images first."""

import numpy as np

from tinymixer import MixerConfig
from tinymixer.bench.work import normalised_images
from tinymixer.ops import images_to_patches_forward


def patches_first_batch(config: MixerConfig, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches float32 (B, S, P*P*in_channels) of the images that our own step gets, and labels int64 (B,)."""
    images, labels = normalised_images(config, batch)
    patches, _ = images_to_patches_forward(images, config.patch_size)  # (S, B, P*P*in_channels)
    return np.ascontiguousarray(patches.transpose(1, 0, 2)), labels
