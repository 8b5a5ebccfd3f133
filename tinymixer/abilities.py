"""What this system lets a program do: a browser (Pyodide) starts no threads and no processes."""

import functools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from tinymixer.errors import BackendError

WITHOUT_PROCESSES = ("emscripten", "wasi", "ios", "tvos", "watchos")


def in_browser() -> bool:
    """Whether Python runs in a browser, as Pyodide does."""
    return sys.platform == "emscripten"


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_processes() -> bool:
    """Whether this system can start other processes."""
    return sys.platform not in WITHOUT_PROCESSES


def require_processes(what: str) -> None:
    """Raise BackendError, with a sentence that begins with `what`, where no processes can be started."""
    if not has_processes():
        raise BackendError(f"{what} needs processes of its own, and this system ({sys.platform}) can start none")


@functools.cache
def has_threads() -> bool:
    """Whether this system can start threads; found out by starting one."""
    thread = threading.Thread(target=_nothing, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # "can't start new thread"
        return False
    thread.join()
    return True


def _nothing() -> None:
    pass


def thread_pool(threads: int, name: str = "") -> Executor:
    """A pool of threads; where there are none, an executor that does all work at once, in the calling thread.

    For work of which no part waits for another.
    """
    if not has_threads():
        return InThisThread()
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


class InThisThread(Executor):
    """Does the work in `submit` itself. The future is done when it is returned."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
