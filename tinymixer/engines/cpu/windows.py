"""Overlapping patches of a slice, written into buffers that are used again. To compare: `ops/windows.py`."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def pad_reflected(images: np.ndarray, overlap: int, wide: np.ndarray) -> None:
    """Write images (n, height, width, channels) into wide (n, height + 2 * overlap, width + 2 * overlap, channels),
    reflected about the outermost pixels at each border; 0 < overlap < height, width.
    """
    height, width = images.shape[1:3]
    middle = wide[:, overlap : overlap + height]
    middle[:, :, overlap : overlap + width] = images
    middle[:, :, :overlap] = images[:, :, overlap:0:-1]
    middle[:, :, overlap + width :] = images[:, :, width - 1 - overlap : width - 1][:, :, ::-1]
    wide[:, :overlap] = middle[:, overlap:0:-1]
    wide[:, overlap + height :] = middle[:, height - 1 - overlap : height - 1][:, ::-1]


def cut_windows(wide: np.ndarray, patch_size: int, size: int, windows: np.ndarray) -> None:
    """Write the windows of size x size pixels, patch_size apart, of wide (n, height, width, channels) into windows
    (S*n, size*size*channels).

    Each row of a window is one run of memory in both, so one copy of a view does it; `ops` takes three passes.
    """
    count, *_, channels = wide.shape
    every = sliding_window_view(wide, (size, size), axis=(1, 2))[:, ::patch_size, ::patch_size]
    down, across = every.shape[1:3]  # of (n, down, across, channels, size, size)
    windows.reshape(down, across, count, size, size, channels)[...] = every.transpose(1, 2, 0, 4, 5, 3)
