"""Sums over the threads that compute a batch together."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np


class SharedSums:
    """`sums(thread, part)` returns the sum of all threads' parts, added in the threads' order, to each of them.

    Before a batch, `begin` names the threads. All of them call equally often, with parts of the same shape, and each
    waits until the last has come. Each works within `given_up_on_error`: where one fails, the others do not wait for
    it, but raise threading.BrokenBarrierError, and `error` is what went wrong.
    """

    def __init__(self) -> None:
        self.begin([0])

    def begin(self, threads: Iterable[int]) -> None:
        order = list(threads)
        self.error: BaseException | None = None
        self._barrier = threading.Barrier(len(order))
        # Two sets of parts in turns: a thread may bring its next part while others still add up these. It cannot bring
        # the one after that before all have come for the next, and so are done with these.
        self._parts: list[dict[int, Any]] = [dict.fromkeys(order) for _ in range(2)]
        self._turns = dict.fromkeys(order, 0)

    def __call__(self, thread: int, part: np.ndarray) -> np.ndarray:
        parts = self._parts[self._turns[thread] % 2]
        self._turns[thread] += 1
        parts[thread] = part
        self._barrier.wait()
        return reduce(np.add, parts.values())

    @contextmanager
    def given_up_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                self.error = error
            self._barrier.abort()
            raise
