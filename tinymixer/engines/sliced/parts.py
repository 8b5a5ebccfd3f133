"""Rows of an array, so many at a time that a few such parts stay in a core's second-level cache."""

from collections.abc import Iterator

import numpy as np

NUMBERS = 65_536  # 256 KiB in float32


def parts_of(rows: np.ndarray) -> Iterator[slice]:
    """rows (N, C)  ->  slices of the first axis, of about NUMBERS numbers and a row at least"""
    step = max(1, NUMBERS // max(1, rows.shape[1]))
    return (slice(start, start + step) for start in range(0, len(rows), step))


def flat_rows(x: np.ndarray) -> np.ndarray:
    """x (..., C)  ->  (N, C), a view where memory allows"""
    return x.reshape(-1, x.shape[-1])
