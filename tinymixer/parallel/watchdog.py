"""Ends a process that waits for others which no longer exist."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """A thread that calls `give_up(what, seconds)` when a watched wait takes longer than `longest` seconds.

    MPI's launchers end all ranks when one dies, but not all of them do (`srun` without --kill-on-bad-exit), and a GPU
    waits in NCCL for ever. A thread that waits in a library cannot be interrupted, so another one must end the process.

    check   called every second of a watched wait; returns a sentence where something has failed, to give up at once
    """

    def __init__(
        self,
        give_up: Callable[[str, float], None],
        longest: float,
        check: Callable[[], str | None] = lambda: None,
        every: float = 1.0,
    ) -> None:
        self.give_up, self.longest, self.check, self.every = give_up, longest, check, every
        self._since: float | None = None
        self._what = ""
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Watch the wait in this block. One thread's waits are watched, one at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="tinymixer watchdog", daemon=True)
            self._thread.start()
        self._what, self._since = what, time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        while True:
            time.sleep(self.every)
            since, what = self._since, self._what
            if since is None:
                continue
            waited = time.monotonic() - since
            failed = self.check()
            if waited > self.longest or failed:
                self.give_up(failed or what, waited)
                return
