"""Stops a run cleanly: Ctrl-C, SIGTERM or a closed terminal ask for a stop, and the trainer stops after its step."""

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """A context in which the first SIGINT, SIGTERM or SIGHUP only sets `.signal`; a second raises KeyboardInterrupt.

    A signal that was ignored on entry stays ignored (`nohup`, a script's `&`), and a handler that was not installed
    from Python is left alone. The previous handlers are restored on exit. Outside the main thread, where Python allows
    no handlers, this does nothing.
    """

    HANDLED = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
    )

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def requested(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in self.HANDLED:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.requested():
            raise KeyboardInterrupt
        self.signal = number
