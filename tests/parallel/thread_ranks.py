"""Ranks as threads of one process: what `MpiRanks` does, without MPI."""

import contextlib
import pickle
import threading
from collections.abc import Callable

from tinymixer.parallel.ranks import ManyRanks


class ThreadRanks(ManyRanks):
    """A rank whose others are threads. All must make the same calls in the same order, as with MPI; one that does not
    ends all of them with `BrokenBarrierError` after some seconds."""

    cores = 1

    def __init__(self, rank, size, barrier, board):
        super().__init__(rank, size)
        self.local_rank, self.local_size, self.host = rank, size, "here"
        self._barrier, self._board = barrier, board
        self.aborted = False

    def gather(self, value):
        self._board[self.rank] = pickle.dumps(value)  # as on its way to another process
        self.meet()
        values = [pickle.loads(sent) for sent in self._board]
        self.meet()
        return values

    def meet(self):
        """Wait until every rank has come here."""
        self._barrier.wait()

    def running(self):
        return contextlib.nullcontext()

    def _sum_on_host(self, vector):
        parts = self.gather(vector)
        vector[...] = parts[0]
        for part in parts[1:]:
            vector += part

    def abort(self, code=1):
        self.aborted = True
        self._barrier.abort()


def on_ranks(size: int, work: Callable, patience: float = 60.0, kind: type[ThreadRanks] = ThreadRanks) -> list:
    """[work(rank 0), work(rank 1), ...], each in a thread. Where some raise, the first that is not a consequence."""
    barrier, board = threading.Barrier(size, timeout=patience), [None] * size
    results: list = [None] * size
    errors: list = [None] * size

    def run(rank):
        ranks = kind(rank, size, barrier, board)
        try:
            with ranks.running():
                results[rank] = work(ranks)
        except BaseException as error:
            errors[rank] = error
            if not isinstance(error, threading.BrokenBarrierError):
                barrier_errors.append(error)
            barrier.abort()  # nobody waits for a rank that has ended

    barrier_errors: list = []
    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
        assert not thread.is_alive(), "a rank waits for ever"
    if barrier_errors:
        raise barrier_errors[0]
    if any(errors):
        raise next(error for error in errors if error)
    return results
