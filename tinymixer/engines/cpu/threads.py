"""One Python thread per core, each with a BLAS of one thread inside."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def default_threads() -> int:
    """As many threads as BLAS would take: the cores this process may use, or what OMP_NUM_THREADS and its kin say.

    Without threadpoolctl nobody can tell BLAS to use one thread; then we use one and leave BLAS its own.
    """
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")])


class ThreadTeam:
    """Runs work(thread, ...) on so many threads at once and waits for all of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="tinymixer") if count > 1 else None
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            self._blas = None
        else:
            self._blas = ThreadpoolController()

    def parallel_map(self, function, items):
        """[function(item), ...], in the items' order, each thread taking every so many-th: like `map`, but at once."""
        items = list(items)
        shares = self.run(lambda thread: [function(item) for item in items[thread :: self.count]])
        results = [None] * len(items)
        for thread, share in enumerate(shares):
            results[thread :: self.count] = share
        return results

    def run(self, work, *items):
        """[work(0, ...), work(1, ...), ...], with one of each of the items per thread."""
        if self._blas is None:
            return self._run(work, *items)
        with self._blas.limit(limits=1, user_api="blas"):
            return self._run(work, *items)

    def _run(self, work, *items):
        def quietly(*arguments):
            # What is not finite shows in the loss and in the gradient's norm, which say at which step.
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                return work(*arguments)

        if self._pool is None:
            return [quietly(0, *(item[0] for item in items))]
        return list(self._pool.map(quietly, range(self.count), *items))
