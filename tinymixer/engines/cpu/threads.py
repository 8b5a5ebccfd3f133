"""One Python thread per core, each with a BLAS of one thread inside."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinymixer.abilities import has_threads, thread_pool, usable_cores
from tinymixer.engines.cpu.quota import cpu_quota


def default_threads() -> int:
    """As many threads as BLAS would use: one per core that this process may use, or as OMP_NUM_THREADS and such say.

    A container may get less time than its cores have (`docker run --cpus 2`); more threads than that would only wait
    for each other. Without threadpoolctl we cannot limit BLAS to one thread: then this is 1, and BLAS uses its own.
    It is 1, too, where no thread can be started (in a browser).
    """
    try:
        import threadpoolctl
    except ImportError:
        return 1
    if not has_threads():
        return 1
    cores = usable_cores()
    quota = cpu_quota()
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    return min([cores, *BLAS_LIMIT.threads_without(threadpoolctl)])


class BlasLimit:
    """Limits BLAS to one thread while any thread of this process needs that, and then restores the number before.

    The whole process shares the number of BLAS threads. If two trainings in two Python threads each saved and restored
    it, the second would save the first one's limit and restore that. So only the first to enter `one_thread` saves the
    number, and the last to leave restores it.
    """

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _reset(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._saved: list[tuple[Any, int | None]] = []  # each library, and how many threads it had

    @contextmanager
    def one_thread(self, libraries: Sequence[Any]) -> Iterator[None]:
        """Within this block BLAS has one thread. `libraries` are threadpoolctl's controllers of them."""
        process = os.getpid()
        with self._lock:
            if self._users == 0:
                self._saved = [(library, library.num_threads) for library in libraries]
                self._set([(library, 1) for library in libraries])
            self._users += 1
        try:
            yield
        finally:
            if os.getpid() == process:  # in a child forked within the block, _after_fork has restored them
                with self._lock:
                    self._users -= 1
                    if self._users == 0:
                        self._set(self._saved)

    def threads_without(self, threadpoolctl: Any) -> list[int]:
        """How many threads each BLAS library has outside of `one_thread`."""
        with self._lock:
            if self._users:
                return [threads for _, threads in self._saved if threads is not None]
            return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    def _after_fork(self) -> None:
        """A forked child has none of the threads that would leave the block and release the lock."""
        users, saved = self._users, self._saved
        self._reset()
        if users:
            self._set(saved)

    @staticmethod
    def _set(threads: Iterable[tuple[Any, int | None]]) -> None:
        for library, count in threads:
            # From threadpoolctl 3.7 on, only the thread that has set a number may set another; calls of other threads
            # are silently ignored. Here any thread may be the last to leave, so we release that control; the lock keeps
            # the order.
            release = getattr(library, "clear_controlling_thread", None)
            if count is not None:
                if release is not None:
                    release(force=True)
                library.set_num_threads(count)
                if release is not None:
                    release(force=True)


BLAS_LIMIT = BlasLimit()


class ThreadTeam:
    """Runs work(thread, ...) on `count` threads at once and waits for all of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: Executor | None = None
        self._process = 0  # the process that made the pool
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            self._blas: list[Any] | None = None
        else:
            self._blas = ThreadpoolController().select(user_api="blas").lib_controllers

    def parallel_map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """[function(item), ...] in the items' order, like `map`: thread t computes items t, t + count, ..."""
        items = list(items)
        shares = self.run(lambda thread: [function(item) for item in items[thread :: self.count]])
        results: list[Any] = [None] * len(items)
        for thread, share in enumerate(shares):
            results[thread :: self.count] = share
        return results

    def run(self, work: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        """[work(0, ...), work(1, ...), ...], with one of each of the items per thread.

        If one of them raises, the error is raised after all have ended, so that no thread is still writing.
        """
        if self._blas is None:
            return self._run(work, *items)
        with BLAS_LIMIT.one_thread(self._blas):
            return self._run(work, *items)

    def run_on_one(self, work: Callable[..., Any], thread: int, *items: Any) -> Any:
        """work(thread, ...) alone, on the calling thread.

        BLAS keeps its own threads, since ours have nothing to do; but a team of one is never more than one thread.
        """
        if self.count == 1:
            return self.run(lambda _, *rest: work(thread, *rest), *([item] for item in items))[0]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return work(thread, *items)

    def _run(self, work: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        def without_warnings(*arguments: Any) -> Any:
            # What is not finite shows in the loss and in the gradient's norm, which say at which step.
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                return work(*arguments)

        if self.count == 1:
            return [without_warnings(0, *(item[0] for item in items))]
        pool = self._threads()
        started = [
            pool.submit(without_warnings, *arguments) for arguments in zip(range(self.count), *items, strict=False)
        ]
        try:
            return [future.result() for future in started]
        finally:
            wait(started)

    def _threads(self) -> Executor:
        """The pool of this process. A forked child has no threads, so it makes a pool of its own."""
        if self._pool is None or self._process != os.getpid():
            self._pool = thread_pool(self.count, "tinymixer")
            self._process = os.getpid()
        return self._pool
