"""Reads the losses of finished steps without waiting for later ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.engines.cuda.device_update import DeviceUpdate
from tinymixer.engines.cuda.staging import pinned_empty
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.engine import Totals
from tinymixer.errors import TrainingError
from tinymixer.optim import Optimizer


class StepResults:
    """Reads the counters and the history that `DeviceUpdate` keeps on the device."""

    def __init__(self, cupy: Any, stream: Any, update: DeviceUpdate, optimizer: Optimizer) -> None:
        self._cupy, self._stream, self._update, self._optimizer = cupy, stream, update, optimizer
        self._counted = np.zeros(1, STEP_STATE)[0]

    def later(self) -> Callable[[], Totals]:
        """A function that returns the totals of the steps started since the last `later`. This call does not wait.

        The function waits until those steps are done, but not for steps started after them. It updates the step
        counts of the optimizer and of the average, and raises TrainingError when a loss or gradient was not finite; the
        weights are then those before that step. Call such functions in the order in which they were made.
        """
        host = pinned_empty(self._cupy, (STEP_STATE.itemsize,), np.uint8)
        with self._stream:
            self._update.device_state.get(out=host, blocking=False)
            copied = self._cupy.cuda.Event(disable_timing=True)
            copied.record(self._stream)

        def result() -> Totals:
            copied.synchronize()
            return self._totals_since_last(host.view(STEP_STATE)[0])

        return result

    def _totals_since_last(self, state: np.void) -> Totals:
        self._optimizer.steps = int(state["updates"])
        self._update.tell_averaged(state)
        if state["failed_step"]:
            raise self._failure(state)
        before, self._counted = self._counted, state.copy()
        new = {name: state[name] - before[name] for name in ("loss_sum", "correct", "images", "skipped")}
        norm = float(state["gradient_norm"])
        return Totals(float(new["loss_sum"]), int(new["correct"]), int(new["images"]), int(new["skipped"]), norm)

    def _failure(self, state: np.void) -> TrainingError:
        step = int(state["failed_step"]) - 1
        with self._stream:
            loss, norm = (float(number) for number in self._update.history.get()[step % self._update.slots])
        what, value = ("loss", loss) if not np.isfinite(loss) else ("gradient norm", norm)
        return TrainingError(
            f"the {what} became {value} at step {step} of this sitting (learning rate "
            f"{float(state['learning_rate']):.3g}): try a lower learning_rate, a longer warm-up or a smaller clip_norm"
        )

    def recent(self, steps: int) -> np.ndarray:
        """Loss and gradient norm of the last steps, oldest first: float32 (steps, 2). Waits for them.

        Raises ValueError for more steps than the history holds.
        """
        with self._stream:
            done = int(self._update.read()["step"])
            if not 0 <= steps <= min(done, self._update.slots):
                raise ValueError(f"{min(done, self._update.slots)} steps are remembered, {steps} were asked for")
            history = np.asarray(self._update.history.get())  # (slots, 2)
        return history[np.arange(done - steps, done) % self._update.slots]
