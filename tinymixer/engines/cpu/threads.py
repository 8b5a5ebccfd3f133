"""One Python thread per core, each with a BLAS of one thread inside."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.engines.cpu.quota import cpu_quota


def default_threads() -> int:
    """As many threads as BLAS would take: the cores this process may use, or what OMP_NUM_THREADS and its kin say.

    A container may be given less time than its cores have (`docker run --cpus 2`): more threads than that would only
    wait for each other. Without threadpoolctl nobody can tell BLAS to use one thread; then we use one and leave BLAS
    its own.
    """
    try:
        import threadpoolctl
    except ImportError:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    return min([cores, *BLAS_LIMIT.threads_without(threadpoolctl)])


class BlasLimit:
    """Holds BLAS at one thread while anybody in this process needs that, and then gives back what it found.

    The number of BLAS threads belongs to the process: where two trainings run in two Python threads, the second would
    find the first one's limit and put that back at its end. So whoever comes first notes what was there, and whoever
    leaves last puts it back.
    """

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _forget(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._found: list[tuple[Any, int | None]] = []  # each library, and how many threads it had

    @contextmanager
    def one_thread(self, libraries: Sequence[Any]) -> Iterator[None]:
        """Within this block BLAS has one thread. `libraries` are threadpoolctl's controllers of them."""
        process = os.getpid()
        with self._lock:
            if self._inside == 0:
                self._found = [(library, library.num_threads) for library in libraries]
                self._set([(library, 1) for library in libraries])
            self._inside += 1
        try:
            yield
        finally:
            if os.getpid() == process:  # a child that was forked within the block has its threads back already
                with self._lock:
                    self._inside -= 1
                    if self._inside == 0:
                        self._set(self._found)

    def threads_without(self, threadpoolctl: Any) -> list[int]:
        """How many threads each BLAS library has when nobody limits it."""
        with self._lock:
            if self._inside:
                return [threads for _, threads in self._found if threads is not None]
            return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    def _after_fork(self) -> None:
        """The threads that would leave the block, and let go of the lock, do not exist in a forked child."""
        inside, found = self._inside, self._found
        self._forget()
        if inside:
            self._set(found)

    @staticmethod
    def _set(threads: Iterable[tuple[Any, int | None]]) -> None:
        for library, count in threads:
            # From threadpoolctl 3.7 on, the thread that has set a number is the only one that may set another, and the
            # others are silently ignored. Here any thread may be the last to leave, and the lock keeps the order.
            release = getattr(library, "clear_controlling_thread", None)
            if count is not None:
                if release is not None:
                    release(force=True)
                library.set_num_threads(count)
                if release is not None:
                    release(force=True)


BLAS_LIMIT = BlasLimit()


class ThreadTeam:
    """Runs work(thread, ...) on so many threads at once and waits for all of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0  # that the pool was made in
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            self._blas: list[Any] | None = None
        else:
            self._blas = ThreadpoolController().select(user_api="blas").lib_controllers

    def parallel_map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """[function(item), ...], in the items' order, each thread taking every so many-th: like `map`, but at once."""
        items = list(items)
        shares = self.run(lambda thread: [function(item) for item in items[thread :: self.count]])
        results: list[Any] = [None] * len(items)
        for thread, share in enumerate(shares):
            results[thread :: self.count] = share
        return results

    def run(self, work: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        """[work(0, ...), work(1, ...), ...], with one of each of the items per thread.

        Where one of them raises, its error arrives when all have ended: nobody is left behind who still writes.
        """
        if self._blas is None:
            return self._run(work, *items)
        with BLAS_LIMIT.one_thread(self._blas):
            return self._run(work, *items)

    def _run(self, work: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        def quietly(*arguments: Any) -> Any:
            # What is not finite shows in the loss and in the gradient's norm, which say at which step.
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                return work(*arguments)

        if self.count == 1:
            return [quietly(0, *(item[0] for item in items))]
        pool = self._threads()
        started = [pool.submit(quietly, *arguments) for arguments in zip(range(self.count), *items, strict=False)]
        try:
            return [future.result() for future in started]
        finally:
            wait(started)

    def _threads(self) -> ThreadPoolExecutor:
        """The pool of this process: threads do not exist in a child that was forked, so it makes its own."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="tinymixer")
            self._process = os.getpid()
        return self._pool
