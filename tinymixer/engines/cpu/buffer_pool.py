"""Buffers that lie side by side in large blocks of memory."""

import numpy as np

CHUNK_BYTES = 32 << 20
LINE = 64  # bytes of a cache line


class BufferPool:
    """Hands out uninitialised arrays of one dtype. They cannot be freed one by one: `rewind` frees them all.

    All buffers of a thread lie side by side and are used again for every slice, whatever its length, so only the first
    slice causes page faults. Memory that was never written costs nothing.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self._chunks: list[np.ndarray] = []
        self.rewind()

    def rewind(self) -> None:
        """Hand out the same memory again. Arrays taken before share it with later ones: do not use both at once."""
        self._current, self._used = -1, 0

    def take(self, *shape: int) -> np.ndarray:
        """An array of this shape that starts at a cache line."""
        needed = int(np.prod(shape)) * self.dtype.itemsize
        while self._current < 0 or self._used + needed > self._chunks[self._current].size:
            self._current += 1
            if self._current == len(self._chunks):
                self._chunks.append(np.empty(max(CHUNK_BYTES, needed + LINE), np.uint8))
            self._used = -self._chunks[self._current].ctypes.data % LINE
        array = self._chunks[self._current][self._used : self._used + needed].view(self.dtype).reshape(shape)
        self._used += -(-needed // LINE) * LINE + LINE
        return array
