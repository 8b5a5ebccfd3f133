"""Running an answer on an exercise's inputs: what came out, or what went wrong and in which line."""

import contextlib
import copy
import inspect
import io
import linecache
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.lessons.exercise import Exercise, NotYet, as_tuple


@dataclass(frozen=True)
class Outcome:
    """What an answer did with one case: its outputs by name, or the error it raised and the line that raised it."""

    outputs: dict[str, Any] | None
    error: Exception | None = None
    line: str = ""
    shape_of_answer: str = ""  # what came back, where it was not the outputs asked for


def run(exercise: Exercise, answer: Any, arguments: tuple[Any, ...]) -> Outcome:
    """Run an answer on one case. Its inputs are copies that cannot be written to; what it prints is not shown.

    Raises NotYet when the answer is still to be written.
    """
    functions = as_tuple(answer)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            returned = exercise.call(*functions, *frozen_copy(arguments))
    except NotYet:
        raise
    except Exception as error:
        return Outcome(None, error, _line_of(error, functions))
    if returned is Ellipsis or returned is NotImplemented:
        raise NotYet
    return _named(exercise.returns, returned)


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


def _named(names: Sequence[str], returned: Any) -> Outcome:
    if len(names) == 1:
        return Outcome({names[0]: returned})
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        return Outcome(None, shape_of_answer=describe(returned))
    return Outcome(dict(zip(names, returned, strict=True)))


def describe(value: Any) -> str:
    """A value in a few words: "float64 (3, 4)", "3 values", "None"."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, tuple | list) and any(isinstance(part, np.ndarray) for part in value):
        return f"{len(value)} values ({', '.join(describe(part) for part in value)})"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line_of(error: Exception, functions: tuple[Any, ...]) -> str:
    """The learner's own line, the last one inside the functions given, that led to the error."""
    files: set[str] = set()
    for function in functions:
        with contextlib.suppress(TypeError):  # a class made in a notebook has no file
            files.add(inspect.getfile(inspect.unwrap(function)))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not frames:
        return ""
    last = frames[-1]
    return (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
