"""`RunClock`: the training time of a run, over all the times that it was resumed."""

import time


class RunClock:
    """Counts the seconds of a run from now on, and those before it was resumed.

    before   seconds of the run before this process went on with it
    """

    def __init__(self, before: float = 0.0) -> None:
        self._started, self.before = time.perf_counter(), before

    @property
    def here(self) -> float:
        """Seconds since this process began the run, or went on with it."""
        return time.perf_counter() - self._started

    @property
    def seconds(self) -> float:
        """Training time of the run, including the time before it was resumed."""
        return self.before + self.here
