"""One contestant, in a process of its own: takes orders in lines of JSON, so that nobody's memory or threads mix.

    {"steps": 3}       takes three steps       -> {"seconds": 0.9, "loss": 2.3}
    {"reset": true}    forgets the peak memory -> {}
    {"peak": true}     what it holds at most   -> {"peak_bytes": ..., "process_peak_bytes": ...}

A failure ends the process, with its traceback on standard error.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from tinymixer.bench.memory import held_bytes, reset_peak
from tinymixer.bench.work import loss_of, synthetic_batch
from tinymixer.models import MixerConfig


def main() -> None:
    """The first line says what to do (`arena.Contestant.start`), the others are orders."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to standard error

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    work = json.loads(sys.stdin.readline())
    config = MixerConfig(**work["config"])
    module = importlib.import_module(work["module"])
    before, on_gpu = held_bytes(peak=False) or 0, work["device"] == "cuda"
    if work["profile"]:
        answer(rows=module_profile(work, config))
        return
    (module.reset_peak if on_gpu else reset_peak)()
    make: Callable[..., Any] = module.make_forward if work["forward"] else module.make_step
    run = make(config, work["batch"], work["precision"], work["device"], **work["options"])
    labels = synthetic_batch(config, work["batch"])[1]
    answer(version=module.versions())
    for line in sys.stdin:
        order = json.loads(line)
        if "steps" in order:
            started = time.perf_counter()
            result = run(order["steps"])
            seconds = time.perf_counter() - started
            answer(seconds=seconds, loss=loss_of(result, labels) if work["forward"] else float(result))
        elif "reset" in order:
            if not on_gpu:
                reset_peak()
            answer()
        else:
            whole = held_bytes(peak=True)
            own = module.peak_bytes() if on_gpu else None if whole is None else whole - before
            answer(peak_bytes=own, process_peak_bytes=None if on_gpu else whole)


def module_profile(work: dict[str, Any], config: MixerConfig) -> list[dict[str, Any]]:
    """Where our own step's time goes."""
    if work["device"] == "cuda":
        from tinymixer.bench import profile_cupy

        return profile_cupy.profile(config, work["batch"], work["precision"], **work["options"])
    from tinymixer.bench import profile_numpy

    return profile_numpy.profile(config, work["batch"], work["options"]["threads"], work["forward"], work["profile"])


if __name__ == "__main__":
    main()
