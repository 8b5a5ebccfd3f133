"""A worker: runs one implementation in a process of its own, so that two never share memory or threads.

The first line on standard input describes the work (`runner.Worker` writes it). Each further line is a command in JSON:

    {"steps": 3}       takes three steps       -> {"seconds": 0.9, "processor_seconds": 1.7, "loss": 2.3}
    {"reset": true}    restarts the peak       -> {}
    {"peak": true}     memory at its peak      -> {"peak_bytes": ..., "process_peak_bytes": ...}

A failure ends the process, with a traceback on standard error.
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
from tinymixer.models import MixerConfig, config_class


def main() -> None:
    """Read the description of the work, then answer one command after the other until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints goes to standard error

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    work = json.loads(sys.stdin.readline())
    config = config_class(work["architecture"])(**work["config"])
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
        command = json.loads(line)
        if "steps" in command:
            started, started_processor = time.perf_counter(), time.process_time()
            result = run(command["steps"])
            seconds, processor_seconds = time.perf_counter() - started, time.process_time() - started_processor
            loss = loss_of(result, labels) if work["forward"] else float(result)
            answer(seconds=seconds, processor_seconds=processor_seconds, loss=loss)
        elif "reset" in command:
            if not on_gpu:
                reset_peak()
            answer()
        else:
            whole = held_bytes(peak=True)
            own = module.peak_bytes() if on_gpu else None if whole is None else whole - before
            answer(peak_bytes=own, process_peak_bytes=None if on_gpu else whole)


def module_profile(work: dict[str, Any], config: Any) -> list[dict[str, Any]]:
    """Where the time of our own step goes: rows of `profile_cupy` or `profile_numpy`."""
    if work["device"] == "cuda":
        from tinymixer.bench import profile_cupy

        return profile_cupy.profile(config, work["batch"], work["precision"], **work["options"])
    if not isinstance(config, MixerConfig):
        from tinymixer.bench import profile_layers

        return profile_layers.profile(
            config, work["batch"], work["options"]["threads"], work["forward"], work["profile"]
        )
    from tinymixer.bench import profile_numpy

    return profile_numpy.profile(config, work["batch"], work["options"]["threads"], work["forward"], work["profile"])


if __name__ == "__main__":
    main()
