"""The bundled UCI digits: 1,797 images of 8 x 8 pixels. The file fixes the test images (datasets/digits.md)."""

import hashlib
import io

import numpy as np

from tinymixer.data.dataset import Dataset
from tinymixer.data.manifest import datasets_folder, load_manifest
from tinymixer.errors import DataError


def load_digits() -> Dataset:
    """The digits as `Dataset`: 1,437 training and 360 test images, uint8 (N, 8, 8, 1).

    The file's values 0..16 count the inked pixels of a 4 x 4 block. They are scaled to 0..255 (times 255/16, rounded),
    so that the digits are normalised, augmented and shown like any other images. Strokes are light on black.
    Raises DataError when the bundled file is missing or damaged.
    """
    manifest = load_manifest("digits")
    bundled = manifest.bundled
    if bundled is None:
        raise DataError("The manifest of digits names no bundled file; install tinymixer again.")
    path = datasets_folder() / bundled.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"The bundled digits cannot be read ({error}); install tinymixer again.") from error
    if hashlib.sha256(content).hexdigest() != bundled.sha256:
        raise DataError(f"The bundled digits are damaged ({path} has another SHA-256); install tinymixer again.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        images, labels, is_test = arrays["images"], arrays["labels"].astype(np.int64), arrays["is_test"]
    scaled = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    return Dataset(
        name="digits",
        train_images=scaled[~is_test],
        train_labels=labels[~is_test],
        test_images=scaled[is_test],
        test_labels=labels[is_test],
        class_names=list(manifest.class_names),
        mean=np.array(manifest.mean),
        std=np.array(manifest.std),
    )
