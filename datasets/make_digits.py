"""Make digits.npz from scikit-learn's copy of the UCI digits: `python datasets/make_digits.py` (needs scikit-learn).

The file holds plain arrays only, in the original order: `images` uint8 (1797, 8, 8) with values 0..16, `labels` uint8
(1797,), and `is_test` bool (1797,), the held-out images. The split lives in the file so that it can never drift. It is
stratified: the images are shuffled with a fixed seed, sorted by class, and every fifth one is held out.
"""

from pathlib import Path

import numpy as np

SPLIT_SEED = 1998  # the year the data set was published


def make_digits(path: Path) -> None:
    """Write the digits and their split to `path`; the same bytes every time for one version of zlib."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)  # (1797, 8, 8)
    labels = digits.target.astype(np.uint8)  # (1797,)
    # The legacy generator's numbers never change (NEP 19), so the split can be made again with any NumPy.
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(labels))  # (1797,)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # (1797,)
    is_test = np.zeros(len(labels), dtype=bool)  # (1797,)
    is_test[by_class[::5]] = True
    with path.open("wb") as file:
        np.savez_compressed(file, images=images, labels=labels, is_test=is_test)


if __name__ == "__main__":
    make_digits(Path(__file__).with_name("digits.npz"))
