"""Stopping politely: Ctrl-C and SIGTERM ask for an end, and the trainer chooses the moment."""

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """Within this context, a first SIGINT or SIGTERM is remembered in `.signal`; a second one interrupts at once.

    The handlers found on entry are put back on exit. Outside the main thread, where Python allows no handlers,
    nothing is installed.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def requested(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in self.HANDLED:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.requested():
            raise KeyboardInterrupt
        self.signal = number
