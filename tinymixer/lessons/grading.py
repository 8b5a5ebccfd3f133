"""check("2.3", my_linear_backward): right, or the first wrong element with a hint, or not yet."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tinymixer.lessons.comparing import first_difference, same
from tinymixer.lessons.exercise import Exercise, NotYet, find_exercise, input_names
from tinymixer.lessons.hints import Seen, find_hint
from tinymixer.lessons.notebook import notebook_remarks
from tinymixer.lessons.running import (
    NO_END,
    Outcome,
    Stopped,
    TookTooLong,
    TooMuchPrinted,
    cut,
    describe,
    message_of,
    run,
)
from tinymixer.lessons.text import encodable

PASSED, WRONG, NOT_YET = "passed", "wrong", "not yet"
MARKS = {PASSED: "\N{HEAVY CHECK MARK}", WRONG: "\N{HEAVY BALLOT X}", NOT_YET: "\N{MIDDLE DOT}"}
LINES_SHOWN = 12  # of what an answer printed
CHARACTERS_SHOWN = 800


@dataclass(frozen=True)
class Verdict:
    """What an examination found.

    state     "passed", "wrong" or "not yet"
    sentence  what passed, or what is wrong
    details   label -> text: the inputs, the element, expected, got
    hint      what to do about it; "" if there is none
    known     whether the hint names this very mistake (and is not a general sentence)
    printed   what the answer printed on the inputs shown (on the first inputs if it passed), shortened
    """

    number: str
    title: str
    state: str
    sentence: str
    details: dict[str, str]
    hint: str = ""
    known: bool = False
    printed: str = ""

    @property
    def passed(self) -> bool:
        return self.state == PASSED

    def __str__(self) -> str:
        lines = [f"{MARKS[self.state]} {self.number} {self.title}: {self.sentence}"]
        labelled = self.details | {"hint": self.hint, "printed": self.printed.replace("\n", "\n" + " " * 14)}
        lines += [f"    {label:<8}  {text}" for label, text in labelled.items() if text]
        return "\n".join(lines)


def check(number: str, *answers: Any) -> None:
    """Say whether the answer to an exercise is right: `check("2.3", my_linear_backward)`.

    Prints what passed, or the first wrong element with the expected value, yours and a hint. Then it shows what the
    answer printed, and what `tinymixer lessons status` would not find. No answer makes it raise, except by Ctrl-C.
    Raises ConfigError for an unknown exercise.
    """
    verdict = examine(number, *answers)
    remarks: list[str] = []
    if verdict.passed:
        with contextlib.suppress(Exception):  # only a comfort: the verdict does not depend on it
            remarks = notebook_remarks(find_exercise(number), answers, sys._getframe(1).f_globals)
    verdict = replace(verdict, details=verdict.details | ({"status": " ".join(remarks)} if remarks else {}))
    print(encodable(str(verdict), sys.stdout))


def examine(number: str, *answers: Any, seed: int = 0) -> Verdict:
    """Try the answer to an exercise on its inputs and return the Verdict. seed: of the inputs' random numbers."""
    return judge(find_exercise(number), answers, _right_results, seed)


def judge(
    exercise: Exercise,
    answers: tuple[Any, ...],
    right_results: Callable[[Exercise, int], list[Outcome]] | None = None,
    seed: int = 0,
    hints: bool = True,
) -> Verdict:
    """`examine`, for an exercise as it stands or with other inputs.

    right_results   what the reference does with the cases of a seed, where that is known already
    hints           False: look for no hint, which would run the answer many times
    """
    number = exercise.number
    if len(answers) != len(exercise.functions) or not all(callable(answer) for answer in answers):
        given = ", ".join(describe(answer) for answer in answers) or "nothing"
        names = ", ".join(exercise.functions)
        return _verdict(
            exercise,
            WRONG,
            "this exercise is checked with its own function.",
            {"expected": f'check("{number}", {names})', "got": given},
        )
    cases = list(exercise.cases(np.random.default_rng(seed)))
    expected = (right_results or _reference_on)(exercise, seed)
    outcomes = []
    for case in cases:
        outcomes.append(run(exercise, answers, case))
        if not isinstance(outcomes[-1].error, Exception | None):
            break  # exit(), or too much printed: more inputs would show no more
    try:
        return _judged(exercise, answers, cases, expected, outcomes, seed if hints else None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the returned object may be of a class whose methods fail
        sentence = f"what it returned cannot be compared: {message_of(error)}."
        return _verdict(exercise, WRONG, sentence, printed=outcomes[0].printed)


@lru_cache(maxsize=256)
def _right_results(exercise: Exercise, seed: int) -> list[Outcome]:
    """What the reference does with the cases of a seed, computed once. The cases themselves are made anew each time."""
    return _reference_on(exercise, seed)


def _reference_on(exercise: Exercise, seed: int) -> list[Outcome]:
    expected = [run(exercise, exercise.reference, case) for case in exercise.cases(np.random.default_rng(seed))]
    for right in expected:
        assert right.outputs is not None, f"the reference of exercise {exercise.number} fails: {right.error!r}"
    return expected


def _judged(
    exercise: Exercise,
    answers: tuple[Any, ...],
    cases: list[tuple[Any, ...]],
    expected: list[Outcome],
    outcomes: list[Outcome],
    seed: int | None,
) -> Verdict:
    for outcome in outcomes:
        if isinstance(outcome.error, NotYet):
            names = " and ".join(exercise.functions)
            sentence = f"not yet. Write {names} above, run its cell, then this one again."
            return _verdict(exercise, NOT_YET, sentence, printed=outcome.printed)
    for case, right, outcome in zip(cases, expected, outcomes, strict=False):
        if wrong := _complaint_about(exercise, case, right, outcome):
            if seed is None:
                found = _verdict(exercise, WRONG, wrong.sentence, wrong.details, wrong.general_hint)
            else:
                found = _with_hint(exercise, wrong, answers, cases, expected, outcomes, seed)
            return replace(found, printed=_to_show(outcome.printed))
    inputs = f"{len(cases)} inputs" if len(cases) > 1 else "1 input"
    sentence = f"right. {_listed(exercise.compared)} as expected on {inputs}."
    if any(map(_is_condition, exercise.compared)):
        sentence = f"right on {inputs}: {'; '.join(exercise.compared)}."
    return _verdict(exercise, PASSED, sentence, printed=outcomes[0].printed)


def _to_show(printed: str) -> str:
    """The first lines of what was printed."""
    printed = printed.strip("\n")
    lines = cut(printed, CHARACTERS_SHOWN).splitlines()
    return "\n".join(lines[:LINES_SHOWN] + ["..."] * (len(lines) > LINES_SHOWN))


@dataclass(frozen=True)
class _Wrong:
    """What is wrong with an answer on one case, before a hint is sought."""

    output: str | None  # the output that is wrong; None for an error or a wrong number of outputs
    sentence: str
    details: dict[str, str]
    general_hint: str


def _complaint_about(exercise: Exercise, case: tuple[Any, ...], right: Outcome, outcome: Outcome) -> _Wrong | None:
    inputs = _inputs(exercise, case)
    if outcome.error is not None:
        details = {"inputs": inputs} | ({"line": outcome.line} if outcome.line else {})
        return _Wrong(None, f"it stopped with {message_of(outcome.error)}", details, _error_hint(outcome.error))
    if outcome.outputs is None:
        wanted = f"{len(exercise.returns)} values: {', '.join(exercise.returns)}"
        return _Wrong(
            None,
            "it returned something other than the exercise asks for.",
            {"inputs": inputs, "expected": wanted, "got": outcome.shape_of_answer},
            "End the function with a return of " + ", ".join(exercise.returns) + ", in this order.",
        )
    assert right.outputs is not None
    agreed: list[str] = []
    for name in exercise.compared:
        found = first_difference(name, right.outputs[name], outcome.outputs[name], exercise.tolerance)
        if found is None:
            agreed.append(name)
            continue
        details = {"inputs": inputs, "at": found.where, "expected": found.expected, "got": found.got}
        return _Wrong(name, _not_right(name, agreed), details, found.hint)
    return None


def _not_right(name: str, agreed: list[str]) -> str:
    """The sentence for the first output that is wrong, after those that are right."""
    if any(map(_is_condition, [name, *agreed])):
        return f"not as it should be: {name}." + (f" Right so far: {'; '.join(agreed)}." if agreed else "")
    verb = "are" if _is_plural(name) else "is"
    return f"{_listed(agreed)} right, {name} {verb} not." if agreed else f"{name} {verb} not right."


def _is_condition(output: str) -> bool:
    """Whether an output's name says what is asked for, as "no image twice" does, so that no verb goes with it."""
    return output.count(" ") > 1


def _is_plural(output: str) -> bool:
    """Whether an output's name is a plural, as "weights" is and "dbias" or "loss" is not."""
    return output.endswith("s") and not output.endswith(("as", "is", "us", "ss"))


def _with_hint(
    exercise: Exercise,
    wrong: _Wrong,
    answers: tuple[Any, ...],
    cases: list[tuple[Any, ...]],
    expected: list[Outcome],
    outcomes: list[Outcome],
    seed: int,
) -> Verdict:
    output = wrong.output or _first_wrong_output(exercise, expected, outcomes)
    if any(isinstance(outcome.error, Stopped) for outcome in outcomes):  # it would not end this time either
        return _verdict(exercise, WRONG, wrong.sentence, wrong.details, wrong.general_hint)
    hint = find_hint(Seen(exercise, answers, cases, expected, outcomes, output), seed)
    return _verdict(exercise, WRONG, wrong.sentence, wrong.details, hint or wrong.general_hint, known=bool(hint))


def _first_wrong_output(exercise: Exercise, expected: list[Outcome], outcomes: list[Outcome]) -> str | None:
    """The first wrong output of any case: where one case ends in an error, another may show it."""
    for right, outcome in zip(expected, outcomes, strict=False):
        if right.outputs is None or outcome.outputs is None:
            continue
        for name in exercise.compared:
            if not same(right.outputs[name], outcome.outputs[name], exercise.tolerance):
                return name
    return None


def _error_hint(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "exit() and sys.exit() end the whole program: end a function with return."
    if isinstance(error, TooMuchPrinted):
        return f"Take the prints out of the loop: only the first {CHARACTERS_SHOWN} characters are shown."
    if isinstance(error, TookTooLong):
        return NO_END
    if isinstance(error, MemoryError):
        return "An array or a list grows far larger than the exercise needs: print the shapes on the way."
    if isinstance(error, EOFError):
        return "There is nobody to type while answers are checked: remove input()."
    return ""


def _inputs(exercise: Exercise, arguments: tuple[Any, ...]) -> str:
    """The inputs of a case in a line: "x (3, 5), weight (5, 2), bias (2,)"."""
    names = input_names(exercise, len(arguments))
    return ", ".join(_input(name, value) for name, value in zip(names, arguments, strict=False))


def _input(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray) and (value.size > 4 or value.ndim > 1):
        return f"{name} {value.shape}"
    if isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):
        parts = [str(part.shape) if isinstance(part, np.ndarray) else describe(part) for part in value]
        return f"{name} [{', '.join(parts)}]"
    return f"{name} = {np.array2string(value, precision=4) if isinstance(value, np.ndarray) else describe(value)}"


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} {'are' if _is_plural(names[0]) else 'is'}"
    return f"{', '.join(names[:-1])} and {names[-1]} are"


def _verdict(
    exercise: Exercise,
    state: str,
    sentence: str,
    details: dict[str, str] | None = None,
    hint: str = "",
    known: bool = False,
    printed: str = "",
) -> Verdict:
    shown = _to_show(printed)
    return Verdict(exercise.number, exercise.title, state, sentence, details or {}, hint, known, shown)
