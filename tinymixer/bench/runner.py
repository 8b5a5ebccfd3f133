"""The runner: starts a worker per implementation, warms up one after the other, then lets them take turns."""

import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from tinymixer.abilities import require_processes
from tinymixer.bench.models import architecture_of, step_bytes, step_flops
from tinymixer.bench.peers import Entry
from tinymixer.errors import BackendError
from tinymixer.options import Options

THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
HARMFUL_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where they are set, NumPy runs at half its speed
CHECKED_STEPS = 3  # whose losses are compared
TOLERANCES = {"float32": 1e-4}  # of first losses, relative; other precisions round differently
LOOSE_TOLERANCE = 0.02
PAUSE = 0.3  # seconds before a turn: idle threads of the worker before it still spin for a while
Say = Callable[[str], None]  # receives a few words on what the runner does now


@dataclass(frozen=True)
class Work:
    """What every implementation does: `batch` images a step, on `threads` threads of the CPU or on a GPU.

    precision       that was asked for; on a CPU the peers compute in it, and our own step in float32
    deterministic   our own step on a GPU adds in a fixed order
    """

    model: str
    config: Options
    batch: int
    precision: str
    device: str
    threads: int
    forward: bool
    deterministic: bool = True

    @property
    def architecture(self) -> str:
        return architecture_of(self.config)

    @property
    def tolerance(self) -> float:
        """How far first losses may differ from ours, relative."""
        return TOLERANCES.get(self.precision, LOOSE_TOLERANCE)

    @property
    def own_precision(self) -> str:
        """The precision of our own step: NumPy multiplies in float32."""
        return "float32" if self.device == "cpu" else self.precision


def own_entry(work: Work) -> Entry:
    """Our own step for this work."""
    if work.device == "cuda":
        return Entry("tinymixer", "tinymixer.bench.ours_cupy", {"deterministic": work.deterministic})
    return Entry("tinymixer", "tinymixer.bench.ours_numpy", {"threads": work.threads}, precision=work.own_precision)


class WorkerError(Exception):
    """A worker's process has ended; the message is its last line of standard error."""


class Worker:
    """An implementation in a process of its own. Every method raises WorkerError when the process has ended."""

    def __init__(self, entry: Entry, work: Work, profile: float = 0.0) -> None:
        require_processes("a measurement")
        handle, errors = mkstemp(prefix="tinymixer-bench-")
        self._errors = Path(errors)
        with on_cores(work):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tinymixer.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                text=True,
                env=environment(work),
            )
        os.close(handle)
        description = asdict(work) | {
            "architecture": work.architecture,
            "module": entry.module,
            "options": entry.options,
            "precision": entry.precision or work.precision,
            "profile": profile,
        }
        self.first_answer = self._ask(description)

    def run(self, steps: int) -> float:
        """Take this many steps; return the seconds they took by the worker's own clock."""
        return self.run_with_loss(steps)[0]

    @property
    def processor_seconds(self) -> float:
        """Processor time of the last steps, of all threads together: what other work on the machine hardly changes."""
        return self._processor_seconds

    def run_with_loss(self, steps: int) -> tuple[float, float]:
        answer = self._ask({"steps": steps})
        self._processor_seconds: float = answer["processor_seconds"]
        return answer["seconds"], answer["loss"]

    def reset_peak(self) -> None:
        self._ask({"reset": True})

    def peak(self) -> dict[str, int | None]:
        return self._ask({"peak": True})

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):  # nothing, or half an answer
            reason = self._reason()
            self.close()
            raise WorkerError(reason)
        return json.loads(line)

    def _reason(self) -> str:
        """Why the process ended: its error message, or else its signal or exit code."""
        code = self._process.wait()
        said = self._errors.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        if code < 0 and not named:
            return f"its process was ended by signal {-code}" + (
                ", perhaps because memory ran out" if code == -9 else ""
            )
        message = (named or lines or [f"its process ended with exit code {code}"])[-1]
        return re.sub(r"^tinymixer\.errors\.\w+: ", "", message)[:300]

    def close(self) -> None:
        """End the process. It exits by itself, with processes it has started, when its input ends."""
        try:
            if self._process.poll() is None:
                self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.unlink(missing_ok=True)


def environment(work: Work) -> dict[str, str]:
    """The environment of a worker: its number of threads, no settings that slow NumPy down, and where modules are."""
    variables = {name: value for name, value in os.environ.items() if name not in HARMFUL_SETTINGS}
    if work.device == "cpu":
        variables |= {name: str(work.threads) for name in THREAD_SETTINGS} | {"JAX_PLATFORMS": "cpu"}
    variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    package = Path(__file__).resolve().parents[2]  # in a clone, also the folder of benchmarks/
    paths = [str(package), variables.get("PYTHONPATH", "")]
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextmanager
def on_cores(work: Work) -> Iterator[None]:
    """Processes started in this block may use as many cores as `work` has threads: XLA starts a thread per core."""
    if work.device != "cpu" or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: work.threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure_ceilings(work: Work) -> dict[str, float]:
    """The machine's own product and copy rates, measured in a process like a worker's.

    Raises BackendError when the measurement fails.
    """
    call = f"gpu_ceilings({work.own_precision!r})" if work.device == "cuda" else f"cpu_ceilings({work.threads})"
    require_processes("a measurement")
    script = f"import json; from tinymixer.bench.ceilings import *; print(json.dumps({call}))"
    with on_cores(work):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False, env=environment(work)
        )
    if done.returncode:
        raise BackendError(f"the machine's rates could not be measured: {(done.stderr.splitlines() or ['?'])[-1]}")
    return json.loads(done.stdout)


def measure(entries: list[Entry], work: Work, seconds: float, rounds: int, say: Say) -> list[dict[str, Any]]:
    """A row per entry, in their order, our own first. An entry that failed has "left_out" and no speed in its row.

    seconds   length of a turn, about
    rounds    turns of each entry
    say       receives a few words on what the runner does now

    Raises BackendError when the machine's rates cannot be measured.
    """
    say("measuring the machine's product and copy rates")
    ceilings = measure_ceilings(work)
    rows, running, warm_up = [_empty_row(entry, work) for entry in entries], {}, {}
    try:
        for index, entry in enumerate(entries):
            say(f"{entry.name}: starting, compiling, warming up")
            try:
                worker = running[index] = Worker(entry, work)
                losses = [worker.run_with_loss(1)[1] for _ in range(CHECKED_STEPS)]
                if not all(map(math.isfinite, losses)):
                    raise WorkerError(f"its first losses are {', '.join(map(str, losses))}")
                worker.reset_peak()
                warm = worker.run(2) / 2
                rows[index] |= {"version": worker.first_answer["version"], "first_losses": losses}
                warm_up[index] = warm
            except WorkerError as failure:
                rows[index]["left_out"] = str(failure)
        steps = {index: max(1, round(seconds / warm)) for index, warm in warm_up.items()}
        measured: dict[int, list[float]] = {index: [] for index in warm_up}
        processor: dict[int, list[float]] = {index: [] for index in warm_up}
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            for index in list(measured):
                try:
                    time.sleep(PAUSE)
                    measured[index].append(running[index].run(steps[index]) / steps[index])
                    processor[index].append(running[index].processor_seconds / steps[index])
                    if turn == rounds - 1:
                        rows[index] |= running[index].peak()
                except WorkerError as failure:
                    rows[index]["left_out"] = str(failure)
                    del measured[index]
    finally:
        for worker in running.values():
            worker.close()
    for index, found in measured.items():
        rows[index] |= _speeds(work, rows[index]["precision"], found, ceilings)
        rows[index]["processor_milliseconds"] = statistics.median(processor[index]) * 1e3
    _compare_with_ours(rows, work)
    return rows


def _empty_row(entry: Entry, work: Work) -> dict[str, Any]:
    return {
        "name": entry.name,
        "images_per_second": None,
        "model": work.model,
        "batch": work.batch,
        "precision": entry.precision or work.precision,
        "device": work.device,
        "threads": work.threads if work.device == "cpu" else None,
        "work": "forward" if work.forward else "training",
    }


def _speeds(work: Work, precision: str, found: list[float], ceilings: dict[str, float]) -> dict[str, Any]:
    """Speeds from the median of `found`, the seconds per step in each turn."""
    seconds = statistics.median(found)
    flops = step_flops(work.config, work.batch, work.forward) / seconds
    moved = step_bytes(work.config, work.batch, 2 if precision in ("bfloat16", "float16") else 4, work.forward)
    return {
        "images_per_second": work.batch / seconds,
        "step_milliseconds": seconds * 1e3,
        "step_milliseconds_of_turns": [value * 1e3 for value in found],
        "teraflops": flops / 1e12,
        "share_of_product_ceiling": flops / ceilings["product_flops_per_second"],
        "share_of_copy_ceiling": None if moved is None else moved / seconds / ceilings["copy_bytes_per_second"],
        "product_ceiling_teraflops": ceilings["product_flops_per_second"] / 1e12,
        "copy_ceiling_gigabytes": ceilings["copy_bytes_per_second"] / 1e9,
    }


def _compare_with_ours(rows: list[dict[str, Any]], work: Work) -> None:
    """Add to each row how far its first losses are from ours, and its speed relative to ours."""
    own = rows[0]
    for row in rows:
        if "first_losses" in row and "first_losses" in own:
            pairs = zip(row["first_losses"], own["first_losses"], strict=True)
            row["loss_difference"] = max(abs(theirs - ours) / abs(ours) for theirs, ours in pairs)
            row["agrees"] = row["loss_difference"] <= work.tolerance
        if row["images_per_second"] and own["images_per_second"]:
            row["speed_relative_to_tinymixer"] = row["images_per_second"] / own["images_per_second"]


def profile(work: Work, seconds: float = 2.0) -> list[dict[str, Any]]:
    """Where the time of our own step goes: watches it for about `seconds` in a worker.

    Raises BackendError when the worker fails.
    """
    try:
        worker = Worker(own_entry(work), work, profile=seconds)
    except WorkerError as failure:
        raise BackendError(str(failure)) from failure
    worker.close()
    return worker.first_answer["rows"]
