"""Grades a notebook in a separate process, with limits on time, memory and output.

An answer may call exit(), never end, print or allocate without end, or crash Python: that exercise gets a sentence, and
a new process continues with the others. This contains accidents; it does not protect from code that means harm.
"""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tinymixer.abilities import has_processes
from tinymixer.lessons.exercise import find_exercise
from tinymixer.lessons.grading import WRONG, Verdict
from tinymixer.lessons.in_this_process import NOT_CONTAINED, serve_here
from tinymixer.lessons.running import NO_END, cut

MEMORY = 2**30  # bytes that answers may use, on top of Python and NumPy
GRACE = 2.0  # seconds for a process to end by itself before it is ended
LEAST = 0.5  # with fewer seconds than this left, nothing is started
LONGEST_LINE = 10_000_000  # bytes
STARTING = 30.0  # seconds for a process to start on a busy machine
START = (
    "import json, sys; request = json.loads(sys.stdin.readline()); sys.path[:] = request['import_from']; "
    "from tinymixer.lessons.worker import main; main(request)"
)
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "MALLOC_ARENA_MAX"), "1"
)


class Patience:
    """Time limits for answers that do not end: long for the first, shorter for the next ones, and one limit for all.

    Right answers take well under a second. Threads may share one object.
    """

    def __init__(self, each: tuple[float, ...] = (10.0, 5.0, 3.0), altogether: float = 45.0) -> None:
        self._each, self._spent = each, 0
        self._end = time.monotonic() + altogether
        self.cancelled = threading.Event()

    def seconds(self) -> float:
        """The time limit for the next answer; 0 when none is left."""
        if self.cancelled.is_set():
            return 0.0
        return max(0.0, min(self._each[min(self._spent, len(self._each) - 1)], self._end - time.monotonic()))

    def spend(self) -> None:
        """Count one more answer that did not end."""
        self._spent += 1


def grade_notebook(
    path: Path,
    numbers: list[str],
    patience: Patience | None = None,
    examiner: str = "exercise",
    never_ending: list[tuple[int, int]] | None = None,
) -> dict[str, Verdict]:
    """The verdict on each of these exercises as they are answered in a notebook (or in a jupytext source).

    examiner       "exercise": as `check` does; "training": on the inputs of real training steps (lesson 18)
    never_ending   receives the cell and line of each statement that had to be left out

    Nothing in the notebook makes it raise: if the notebook cannot be read, each of its exercises is wrong.
    """
    patience = patience or Patience()
    verdicts: dict[str, Verdict] = {}
    skip: list[list[Any]] = []
    while left := [number for number in numbers if number not in verdicts]:
        seconds = patience.seconds()
        if seconds < LEAST:
            sentence = "not checked, since other answers in this folder used up the time."
            hint = f"pytest -k {find_exercise(left[0]).task} checks this one alone; correct the answers that never end."
            verdicts |= {number: _wrong(number, sentence, hint=hint) for number in left}
            break
        request = {"path": str(path.absolute()), "numbers": left, "skip": skip, "seconds": seconds, "memory": MEMORY}
        request["examiner"] = examiner
        attempt = _attempt(request, patience.cancelled)
        verdicts |= attempt.verdicts
        if attempt.timed_out:
            patience.spend()
        if attempt.exercise is not None:
            number = attempt.exercise
            verdicts[number] = _wrong(number, f"it {attempt.how}", attempt.line, attempt.hint)
        elif attempt.statement is not None:
            cell, line = attempt.statement
            skip.append([cell, line, f"Code cell {cell}, line {line} {attempt.how}"])
            if never_ending is not None:
                never_ending.append((cell, line))
        elif attempt.how:
            sentence = attempt.unreadable or f"{path.name}: the process that reads it {attempt.how}"
            verdicts |= {number: _wrong(number, sentence) for number in left if number not in verdicts}
    return {number: verdicts[number] for number in numbers}


def remark_about_limits() -> str:
    """A sentence about what is not contained here; "" where answers run in processes of their own."""
    return "" if has_processes() else NOT_CONTAINED


def train_in_a_process(notebooks: list[list[Any]], epochs: int, seconds: float, altogether: float) -> dict[str, Any]:
    """Train with the functions of several notebooks, and with the package's: the fields of a `Comparison`.

    notebooks    each a path, the exercises whose functions are taken, and statements left out
    seconds      that a step may take; altogether: that the training with these functions may take

    Where the process ended too early, the only field is "trouble", a sentence.
    """
    request = {"work": "train", "notebooks": notebooks, "epochs": epochs, "seconds": seconds, "memory": MEMORY}
    attempt = _attempt(request | {"altogether": altogether}, threading.Event())
    if attempt.result is not None:
        return attempt.result
    where = f" It was in {attempt.place}." if attempt.place else ""
    return {"trouble": f"it {attempt.how}{where}"}


def _wrong(number: str, sentence: str, line: str = "", hint: str = "") -> Verdict:
    return Verdict(number, find_exercise(number).title, WRONG, sentence, {"line": line} if line else {}, hint)


@dataclass
class _Attempt:
    """What one process has reported.

    verdicts             the verdicts that it reached
    exercise, statement  what it was working on when it ended too early: a number, or a cell and a line
    how                  how it ended, such as "did not end within 10 s."; "" for a normal end
    line                 the learner's line at which it was stopped
    place                where that is: the notebook, the cell, the line's number and the function
    result               of a training
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    exercise: str | None = None
    statement: list[int] | None = None
    how: str = ""
    hint: str = ""
    line: str = ""
    place: str = ""
    result: dict[str, Any] | None = None
    unreadable: str = ""
    timed_out: bool = False
    complete: bool = False
    texts: dict[str, str] = field(default_factory=dict)

    def hear(self, line: bytes) -> None:
        """Read a line of the process's output: an event, or a part of the stack that faulthandler writes."""
        if line.startswith(b"{"):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self.hear_event(**json.loads(line))
        elif line.startswith(b"Timeout"):
            self.timed_out = True
        elif not self.place and (frame := re.search(rb'"<([^<>]+ cell \d+)>", line (\d+) in (\w+)', line)):
            cell_of, number_of, function = (part.decode(errors="replace") for part in frame.groups())
            self.place = f"{cell_of}, line {number_of}, {function}"
        if not self.line and (place := re.search(rb'code cell (\d+)>", line (\d+)', line)):
            cell, number = place[1].decode(), int(place[2])
            lines = self.texts.get(cell, "").splitlines()
            self.line = cut(lines[number - 1].strip(), 200) if number <= len(lines) else ""

    def hear_event(self, **event: Any) -> None:
        if verdict := event.get("verdict"):
            verdict = verdict if isinstance(verdict, Verdict) else Verdict(**verdict)
            self.verdicts[verdict.number] = verdict
            self.exercise = None
        self.exercise = event.get("exercise", self.exercise)
        self.statement = None if self.exercise else event.get("statement", self.statement)
        self.texts = event.get("texts", self.texts)
        self.result = event.get("result", self.result)
        self.how = self.unreadable = event.get("unreadable", "")
        self.how = event.get("failed", self.how)
        self.complete = bool(event.get("complete") or self.how)
        if self.complete and not self.how:
            self.exercise = self.statement = None


def _attempt(request: dict[str, Any], cancelled: threading.Event) -> _Attempt:
    """Run a process on this request until it has finished or its time is over. Where there are none, run it here."""
    attempt = _Attempt()
    if not has_processes():
        serve_here(request, attempt.hear_event)
        return attempt
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # here, since the process may be ended
        _start_and_listen(request | {"folder": folder}, attempt, cancelled)
    return attempt


def _start_and_listen(request: dict[str, Any], attempt: _Attempt, cancelled: threading.Event) -> None:
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | ONE_THREAD | {"MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,  # so that what an answer starts can be ended with it, and Ctrl-C is this process's
        )
    except OSError as error:
        attempt.how = f"could not be started: {error.strerror or error}."
        return
    try:
        _listen(process, request, attempt, cancelled)
    finally:
        _end(process)


def _listen(
    process: "subprocess.Popen[bytes]", request: dict[str, Any], attempt: _Attempt, cancelled: threading.Event
) -> None:
    assert process.stdin is not None
    import_from = [str(Path(folder or ".").absolute()) for folder in sys.path]
    with contextlib.suppress(OSError):  # it has ended already, which is reported below
        process.stdin.write(json.dumps(request | {"import_from": import_from}).encode() + b"\n")
        process.stdin.close()
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    until, ended = time.monotonic() + STARTING, False
    while time.monotonic() < until and not attempt.complete and not cancelled.is_set():
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            if process.poll() is not None and not ended:  # its last lines may still be on their way
                ended, until = True, time.monotonic() + GRACE
            continue
        if not line:
            break
        attempt.hear(line)
        until = time.monotonic() + request["seconds"] + GRACE
    if attempt.complete or cancelled.is_set():
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    attempt.timed_out |= process.returncode is None
    attempt.how, attempt.hint = _how_it_ended(process.returncode, request["seconds"] if attempt.timed_out else None)


def _read_lines(output: IO[bytes], lines: "queue.Queue[bytes]") -> None:
    """Put each line into the queue, and b"" at the end."""
    with contextlib.suppress(ValueError, OSError):  # the output was closed
        while line := output.readline(LONGEST_LINE):
            lines.put(line)
    lines.put(b"")


def _how_it_ended(code: int | None, seconds: float | None) -> tuple[str, str]:
    """How a process ended too early, and a hint."""
    if seconds is not None:
        return f"did not end within {seconds:.3g} s.", NO_END
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return (
                f"made the system end Python ({name}).",
                "SIGKILL: too much memory; SIGSEGV: a crash inside a library.",
            )
    return f"ended Python itself (exit code {code}).", "End a function with return; os._exit() ends everything."


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and everything that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
