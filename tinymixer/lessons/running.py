"""Runs an answer on an exercise's inputs: its outputs, or what went wrong and in which line."""

import contextlib
import copy
import inspect
import io
import linecache
import reprlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.lessons.exercise import Exercise, NotYet, as_tuple
from tinymixer.text import printable

MOST_PRINTED = 1_000_000  # characters; an answer that prints more is stopped
KEPT = 4_000  # characters that are kept to be shown
NO_END = "Is there a loop whose condition never becomes false, or one that waits for something?"
LONGEST_MESSAGE = 300  # characters of an error's own message


class Stopped(BaseException):
    """Ends an answer that would not end by itself. Not an Exception, so that `except Exception` does not catch it."""


class TooMuchPrinted(Stopped):
    """Ends an answer that prints without end."""

    def __str__(self) -> str:
        return f"more than {MOST_PRINTED:,} characters were printed"


class TookTooLong(Stopped):
    """Ends an answer that takes longer than its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"did not end within {seconds:.3g} s")


class Printed(io.TextIOBase):
    """Receives what an answer prints: keeps the beginning, counts the rest, and stops the answer at MOST_PRINTED."""

    def __init__(self) -> None:
        self.kept = ""
        self.count = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Raises TooMuchPrinted."""
        self.count += len(text)
        if len(self.kept) < KEPT:
            self.kept += text[: KEPT - len(self.kept)]
        if self.count > MOST_PRINTED:
            raise TooMuchPrinted
        return len(text)


@dataclass(frozen=True)
class Outcome:
    """What an answer did with one case: its outputs by name, or the error it raised and the line that raised it."""

    outputs: dict[str, Any] | None
    error: BaseException | None = None
    line: str = ""
    shape_of_answer: str = ""  # what it returned instead of the outputs asked for
    printed: str = ""
    returned: Any = None  # as it came back, before it is taken apart into outputs


def run(exercise: Exercise, answer: Any, arguments: tuple[Any, ...]) -> Outcome:
    """Run an answer on one case. Its inputs are copies that cannot be written to; what it prints is kept.

    Whatever the answer raises goes into the Outcome: NotYet if it is still to be written, and SystemExit, too. Only
    KeyboardInterrupt, which comes from the user, is raised.
    """
    functions = as_tuple(answer)
    with quietly(functions) as printed:
        try:
            returned = exercise.call(*functions, *frozen_copy(arguments))
            if returned is Ellipsis or returned is NotImplemented:
                raise NotYet
            outputs, shape = _named(exercise.returns, returned)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an answer may raise anything
            return Outcome(None, error, _line_of(error, functions), printed=printed.kept)
    return Outcome(outputs, shape_of_answer=shape, printed=printed.kept, returned=returned)


def run_without_words(exercise: Exercise, functions: tuple[Any, ...], arguments: tuple[Any, ...]) -> Outcome:
    """`run`, where nobody will ask for the line of an error; to be called many times within one `quietly`."""
    try:
        returned = exercise.call(*functions, *frozen_copy(arguments))
        return Outcome(_named(exercise.returns, returned)[0], returned=returned)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an answer may raise anything
        return Outcome(None, error)


@contextlib.contextmanager
def quietly(functions: tuple[Any, ...]) -> Iterator[Printed]:
    """Keep what is printed, and NumPy's warnings, to themselves; exit() raises SystemExit."""
    printed = Printed()
    with contextlib.redirect_stdout(printed), np.errstate(all="ignore"), _exit_as_in_python(functions):
        yield printed


@contextlib.contextmanager
def _exit_as_in_python(functions: tuple[Any, ...]) -> Iterator[None]:
    """Make exit and quit raise SystemExit while an answer runs; in a notebook they would end the kernel."""
    replaced = []
    for function in functions:
        names = getattr(function, "__globals__", {})
        for name in ("exit", "quit"):
            if hasattr(names.get(name), "_ip"):  # IPython's
                replaced.append((names, name, names[name]))
                names[name] = _exit
    try:
        yield
    finally:
        for names, name, original in replaced:
            names[name] = original


def _exit(*_: object) -> None:
    raise SystemExit


def frozen_copy(value: Any) -> Any:
    """A copy of arrays (also in tuples, lists and dicts) that refuses to be written to; anything else as it is."""
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
        return value
    if isinstance(value, tuple | list):
        return type(value)(frozen_copy(part) for part in value)
    if isinstance(value, dict):
        return {key: frozen_copy(part) for key, part in value.items()}
    if isinstance(value, np.random.Generator):
        return copy.deepcopy(value)
    return value


def _named(names: Sequence[str], returned: Any) -> tuple[dict[str, Any] | None, str]:
    """The outputs by name, or None and a description of what was returned instead."""
    if len(names) == 1:
        return {names[0]: returned}, ""
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        return None, describe(returned)
    return dict(zip(names, returned, strict=True)), ""


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 20


def describe(value: Any) -> str:
    """A value in a few words: "float64 (3, 4)", "3 values", "None"."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, tuple | list) and any(isinstance(part, np.ndarray) for part in value[:20]):
        return f"{len(value)} values ({', '.join(describe(part) for part in value[:20])})"
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    try:
        return cut(_short.repr(value), 60)
    except Exception:  # somebody's own __repr__, or a number of too many digits
        return f"a {type(value).__name__}"


def message_of(error: BaseException) -> str:
    """The error's kind and message, such as "ValueError: no such axis", shortened and safe to print."""
    try:
        text = str(error)
    except Exception:  # an error may be the learner's own class
        text = ""
    kind = type(error).__name__
    return f"{kind}: {cut(text, LONGEST_MESSAGE)}" if text else kind


def cut(text: str, most: int) -> str:
    """The text, or its beginning and dots, in printable characters, tabs and line breaks."""
    return printable(text if len(text) <= most else f"{text[: most - 3]}...", keep="\n\t")


def _line_of(error: BaseException, functions: tuple[Any, ...]) -> str:
    """The learner's own line, the last one inside the functions given, that led to the error."""
    files: set[str] = set()
    for function in functions:
        with contextlib.suppress(Exception):  # a class made in a notebook has no file
            files.add(inspect.getfile(inspect.unwrap(function)))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not frames:
        return ""
    last = frames[-1]
    return cut((last.line or linecache.getline(last.filename, last.lineno or 0)).strip(), LONGEST_MESSAGE)
