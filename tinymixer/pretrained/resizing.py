"""Resizing a picture as TensorFlow does it, whose ways Pillow does not have.

Both are one matrix product per axis: row i of the matrix says how pixel i of the new picture is made of the old ones.
(Pillow's BOX takes a pixel whole or not at all, and its BILINEAR widens its reach where a picture shrinks.)
"""

import numpy as np


def resize_area(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over the area that a new pixel covers, of parts of pixels too: `tf.image.resize(..., method="area")`.

    pixels (h, w, channels) of any real dtype  ->  float32 (height, width, channels)
    """
    return _resize(pixels, _area_weights(pixels.shape[0], height), _area_weights(pixels.shape[1], width))


def resize_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Between the two nearest pixels of each axis, however much the picture shrinks: `tf.image.resize(...)`.

    pixels (h, w, channels) of any real dtype  ->  float32 (height, width, channels)
    """
    return _resize(pixels, _bilinear_weights(pixels.shape[0], height), _bilinear_weights(pixels.shape[1], width))


def _resize(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    h, w, channels = pixels.shape
    across = rows @ pixels.reshape(h, w * channels).astype(np.float32)  # (height, w * channels)
    turned = across.reshape(-1, w, channels).transpose(1, 0, 2).reshape(w, -1)  # (w, height * channels)
    done = columns @ turned  # (width, height * channels)
    return np.ascontiguousarray(done.reshape(len(columns), -1, channels).transpose(1, 0, 2))


def _area_weights(old: int, new: int) -> np.ndarray:
    """(new, old): the share of each old pixel in each new one, which covers old / new of them."""
    scale = old / new
    starts = np.arange(new)[:, None] * scale  # (new, 1)
    overlap = np.minimum(starts + scale, np.arange(1, old + 1)) - np.maximum(starts, np.arange(old))  # (new, old)
    return (np.clip(overlap, 0, None) / scale).astype(np.float32)


def _bilinear_weights(old: int, new: int) -> np.ndarray:
    """(new, old): centres of pixels lie at halves; beyond the outermost centres the outermost pixel holds."""
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)  # (new,)
    below = np.floor(centres).astype(np.int64)
    above, share = np.minimum(below + 1, old - 1), centres - below
    weights = np.zeros((new, old), np.float32)
    np.add.at(weights, (np.arange(new), below), 1 - share)
    np.add.at(weights, (np.arange(new), above), share)
    return weights
