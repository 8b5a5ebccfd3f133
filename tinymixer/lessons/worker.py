"""The process that runs the answers of one notebook; `isolated.py` starts it and reads its output.

It writes one JSON object a line: what it runs next, and each verdict. Where a step takes too long, a thread of Python's
faulthandler, which needs no interpreter lock, writes the stack and ends the process.
"""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinymixer.errors import DataError
from tinymixer.lessons.answers import Examiner, grade, write_files
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.grading import examine
from tinymixer.lessons.notebook import Statement, read_notebook
from tinymixer.lessons.running import message_of

LARGEST_FILE = 2**30  # bytes
STATM = Path("/proc/self/statm")  # Linux: pages of address space, and more
MUCH_KEPT = 2**28  # bytes of memory that an exercise may leave behind before the next one gets a new process


def main(request: dict[str, Any]) -> None:
    """Serve one request and end the process. request: path, numbers, examiner, skip, folder, seconds, memory; to train
    (`work`): notebooks, epochs, seconds, altogether, memory.
    """
    events = os.dup(1)  # standard output, kept from the answers
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    try:
        _work(request, events)
    finally:
        os._exit(1)  # at once, whatever threads an answer has started


def _work(request: dict[str, Any], events: int) -> None:
    def say(**event: Any) -> None:
        line = json.dumps(event).encode() + b"\n"
        while line:
            line = line[os.write(events, line) :]

    def step(**what: Any) -> None:
        say(**what)
        faulthandler.dump_traceback_later(request["seconds"], exit=True, file=events)

    def before_statement(statement: Statement) -> None:
        step(statement=[statement.cell, statement.line])

    all_exercises()  # imported before memory is limited
    _limit_memory(request["memory"])
    step()
    try:
        if request.get("work") == "train":
            train(request, say, step)
        else:
            _grade(request, Path(request["folder"]), say, step, before_statement)
    except DataError as error:
        say(unreadable=str(error))
    except BaseException as error:  # KeyboardInterrupt too, which here can only come from an answer
        say(failed=f"stopped its check with {message_of(error)}.")


def _grade(
    request: dict[str, Any],
    folder: Path,
    say: Callable[..., None],
    step: Callable[..., None],
    before_statement: Callable[[Statement], None],
) -> None:
    path = Path(request["path"])
    notebook = read_notebook(path)
    say(texts={file.rpartition(" ")[2].strip(">"): text for file, text in notebook.texts.items()})
    write_files(notebook, folder)
    sys.path[:0] = [str(folder), str(path.parent)]
    with contextlib.suppress(OSError):
        os.chdir(path.parent)
    skip = {(cell, line): said for cell, line, said in request["skip"]}
    memory, threads = memory_in_use(), threading.active_count()
    examiner = examiner_named(request["examiner"])
    for verdict in grade(
        notebook, request["numbers"], skip, before_statement, lambda number: step(exercise=number), examiner
    ):
        say(verdict=asdict(verdict))
        if memory_in_use() > memory + MUCH_KEPT or threading.active_count() > threads:
            break  # the next exercise starts in a new process
    say(complete=True)


def examiner_named(name: str) -> Examiner:
    """ "exercise": as `check` does; "training": on the inputs of real training steps."""
    if name == "training":
        from tinymixer.lessons.capstone import examine_in_training

        return examine_in_training
    return examine


def train(request: dict[str, Any], say: Callable[..., None], step: Callable[..., None]) -> None:
    from tinymixer.lessons.capstone import PARTS, backend_with
    from tinymixer.lessons.collecting import compare_trainings, made

    functions: dict[str, Callable[..., Any]] = {}
    for path, numbers, left_out in request["notebooks"]:
        functions |= made(
            Path(path), numbers, dict.fromkeys(((cell, line) for cell, line in left_out), "It never ends.")
        )
        step()
    chosen = {part.operation: part.adapted(functions[part.number]) for part in PARTS if part.number in functions}
    until: list[float] = []

    def after_step(_: int, __: float) -> bool:
        step()
        return bool(until) and time.monotonic() > until[0]

    def theirs_begin() -> None:
        until.append(time.monotonic() + request["altogether"])

    result = compare_trainings(backend_with(**chosen), request["epochs"], after_step, theirs_begin)
    say(result=asdict(result))
    say(complete=True)


def _limit_memory(most: int) -> None:
    """Limit this process to `most` bytes more than it uses now, where the system can do that (Linux)."""
    try:
        import resource
    except ImportError:  # Windows: only time limits an answer's memory
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: LARGEST_FILE}
    if in_use := memory_in_use():
        limits[resource.RLIMIT_AS] = in_use + most
    for kind, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def memory_in_use() -> int:
    """The bytes of address space that this process uses; 0 where the system does not tell."""
    try:
        return int(STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
