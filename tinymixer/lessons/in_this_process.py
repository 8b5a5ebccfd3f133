"""Grades a notebook in this process, where no others can be started: in a browser.

Less is contained than in a separate process (`isolated.py`), which `NOT_CONTAINED` says to the learner. What an answer
does to this process and can be undone is undone: what it prints, the working directory, imported modules, settings.
"""

import builtins
import contextlib
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from tinymixer.errors import DataError
from tinymixer.lessons.answers import grade, write_files
from tinymixer.lessons.notebook import Notebook, Statement, read_notebook
from tinymixer.lessons.running import Printed, TookTooLong, message_of
from tinymixer.lessons.worker import examiner_named, train

NOT_CONTAINED = (
    "Answers were run in this process, since no other can be started here. An answer that never ends is stopped only "
    "in your own lines, not inside a library; one that uses up the memory or ends Python takes this page's Python with "
    "it. Your files stay: restart the kernel, and correct that answer first."
)


def serve_here(request: dict[str, Any], say: Callable[..., None]) -> None:
    """Serve a request as the process of `worker.py` does, and report each event to `say`."""
    try:
        if request.get("work") == "train":
            train(request, say, lambda **_: None)
        else:
            _grade(request, say)
    except DataError as error:
        say(unreadable=str(error))
    except BaseException as error:  # KeyboardInterrupt too: an answer may raise anything
        say(failed=f"stopped its check with {message_of(error)}.")
    else:
        say(complete=True)


def _grade(request: dict[str, Any], say: Callable[..., None]) -> None:
    path = Path(request["path"])
    notebook = read_notebook(path)
    skip = {(cell, line): said for cell, line, said in request["skip"]}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        _put_back(path.parent, Path(folder)),
        _Clock(notebook, request["seconds"]) as clock,
    ):
        write_files(notebook, Path(folder))

        def before_statement(statement: Statement) -> None:
            clock.restart()

        def before_exercise(number: str) -> None:
            say(exercise=number)
            clock.restart()

        examiner = examiner_named(request["examiner"])
        for verdict in grade(notebook, request["numbers"], skip, before_statement, before_exercise, examiner):
            clock.stop()
            say(verdict=verdict)


class _Clock:
    """A context in which a line of the notebook that runs `seconds` after `restart` raises TookTooLong."""

    def __init__(self, notebook: Notebook, seconds: float) -> None:
        self._files, self._seconds = set(notebook.texts), seconds
        self._until: float | None = None
        self._before: Any = None

    def restart(self) -> None:
        self._until = time.monotonic() + self._seconds
        sys.settrace(self._enter)  # again, since Python ends the tracing when it raises

    def stop(self) -> None:
        self._until = None

    def __enter__(self) -> "_Clock":
        self._before = sys.gettrace()
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Called at each call of a function: only the lines of the notebook's own are watched."""
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if self._until is not None and time.monotonic() > self._until:
            raise TookTooLong(self._seconds)
        return self._line


def _no_keyboard(prompt: object = "") -> str:
    raise EOFError("nobody answers while exercises are checked")


@contextlib.contextmanager
def _put_back(folder: Path, files: Path) -> Iterator[None]:
    """Run a notebook of this folder, its written files in `files`, and then give back what belongs to this process."""
    directory, modules, search, ask = Path.cwd(), set(sys.modules), list(sys.path), builtins.input
    environment, drawn, plain = dict(os.environ), np.random.get_state(), random.getstate()  # noqa: NPY002
    sys.path[:0] = [str(files), str(folder)]
    builtins.input = _no_keyboard
    with contextlib.suppress(OSError):
        os.chdir(folder)
    try:
        with (
            contextlib.redirect_stdout(Printed()),
            contextlib.redirect_stderr(Printed()),
            np.errstate(),
            np.printoptions(),
            warnings.catch_warnings(),
        ):
            yield
    finally:
        builtins.input = ask
        sys.path[:] = search
        with contextlib.suppress(OSError):
            os.chdir(directory)
        for name in sys.modules.keys() - modules:  # a module of this folder: another notebook may have one of that name
            place = getattr(sys.modules[name], "__file__", None)
            if place and Path(place).parent in (files, folder, folder.absolute()):
                del sys.modules[name]
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        np.random.set_state(drawn)  # noqa: NPY002
        random.setstate(plain)
