"""An exercise of the course: a reference, inputs to try, and mistakes with a hint for each."""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError, nearest

Cases = Callable[[np.random.Generator], Iterable[tuple[Any, ...]]]


class NotYet(Exception):  # noqa: N818, not an error: the learner reads it
    """Raised by an exercise that is still to be written. Jupyter shows its sentence instead of a traceback."""

    def __str__(self) -> str:
        return "Not yet: this function is still to be written. Fill it in, run its cell, then this one again."

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer, and the hint for it.

    hint    sentences to the learner: what seems to have happened and where to look, never the solution itself
    wrong   the wrong answer: a function like the learner's (or a tuple of them, for an exercise of several). An answer
            that is wrong in the same way, on all inputs and in the same output, gets the hint. The planted faults of
            the gradient checks will do: `Mistake("...", linear.sign_flipped)`. Of several outputs only the first
            wrong one is compared, so mistakes in an earlier output belong before those in a later one
    """

    hint: str
    wrong: Any


def call_function(function: Callable[..., Any], *arguments: Any) -> Any:
    """How most exercises are run: calls the learner's function with a case's arguments."""
    return function(*arguments)


def call_pair(forward: Callable[..., Any], backward: Callable[..., Any], dy: Any, *inputs: Any) -> Any:
    """How an exercise of two functions is run: forward on the inputs, then backward on dy and forward's cache.

    Returns (y, dx, ...): the output, then the gradients.
    """
    y, cache = forward(*inputs)
    gradients = backward(dy, cache)
    return (y, *gradients) if isinstance(gradients, tuple) else (y, gradients)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    number     "2.3": the third of lesson 02; "1b.3": the third of lesson 01b
    title      a few words for the progress page
    functions  what the notebook calls the learner's function (or class), such as ("my_linear_backward",)
    reference  the right answer: the package's own function wherever there is one; a tuple for several `functions`
    cases      makes the inputs from a random generator: argument tuples, the easiest first. Sizes all different first
               (a swapped axis shows in the shape), then at least one where wrong axes would fit (square)
    returns    names of what comes back, in order. One called "cache" is not compared
    mistakes   plausible wrong answers, the likeliest first
    tolerance  largest difference that passes, relative to the largest expected element of the same output
    call       how functions and arguments become outputs; see `call_function` and `call_pair`
    """

    number: str
    title: str
    functions: tuple[str, ...]
    reference: Any
    cases: Cases
    returns: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    tolerance: float = 1e-6
    call: Callable[..., Any] = call_function

    @property
    def lesson(self) -> str:
        """The number of its lesson, as the course has it: "02" of "2.3", "01b" of "1b.3"."""
        number, letter, _ = _parts(self.number)
        return f"{number:02d}{letter}"

    @property
    def compared(self) -> list[str]:
        """The outputs that are compared: all but the cache, which the learner may fill as they like."""
        return [name for name in self.returns if name != "cache"]

    @property
    def task(self) -> str:
        """What pytest calls it: task_2_3."""
        return f"task_{self.number.replace('.', '_')}"


def _parts(number: str) -> tuple[int, str, int]:
    """(1, "b", 3) of "1b.3" and (2, "", 3) of "2.3", which sort as the course goes."""
    found = re.fullmatch(r"(\d+)([a-z]?)\.(\d+)", number)
    assert found, f"{number} is no number of an exercise"
    return int(found[1]), found[2], int(found[3])


_registered: dict[str, Exercise] = {}


def exercise(
    number: str,
    title: str,
    functions: str | tuple[str, ...],
    *,
    reference: Any,
    cases: Cases,
    returns: str | tuple[str, ...],
    mistakes: Iterable[Mistake],
    **settings: Any,
) -> Exercise:
    """Register an exercise; see `Exercise` for what everything means."""
    assert number not in _registered, f"exercise {number} is written twice"
    names = (functions,) if isinstance(functions, str) else functions
    outputs = (returns,) if isinstance(returns, str) else returns
    made = Exercise(number, title, names, reference, cases, outputs, tuple(mistakes), **settings)
    _registered[number] = made
    return made


def all_exercises() -> list[Exercise]:
    """Every exercise of the course, in its order."""
    from tinymixer.lessons import exercises  # imported here: its modules register themselves, with this one's help

    assert exercises
    return sorted(_registered.values(), key=lambda one: _parts(one.number))


def find_exercise(number: str) -> Exercise:
    """The exercise of that number. Raises ConfigError for an unknown one."""
    number = str(number)  # check(2.3, ...) is as clear
    known = {one.number: one for one in all_exercises()}
    if number not in known:
        same_lesson = [other for other in known if other.split(".")[0] == number.split(".")[0]]
        raise ConfigError(
            f"There is no exercise {number!r}: expected a text such as '2.3', one of "
            f"{', '.join(same_lesson or known)}.{nearest(number, known)}"
        )
    return known[number]


def input_names(exercise: Exercise, count: int) -> list[str]:
    """What the inputs of a case are called: as in the reference's signature, else "input 1" and on."""
    names = [f"input {index + 1}" for index in range(count)]
    reference = as_tuple(exercise.reference)
    with contextlib.suppress(TypeError, ValueError):  # a reference without a signature
        known = list(inspect.signature(reference[0]).parameters)
        if len(reference) > 1:
            known = ["dy", *known] if count > 1 else []
        names[: len(known)] = known[:count]
    return names


def as_tuple(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


__all__ = [
    "Exercise",
    "Mistake",
    "NotYet",
    "all_exercises",
    "call_function",
    "call_pair",
    "exercise",
    "find_exercise",
    "input_names",
]
