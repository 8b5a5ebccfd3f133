"""What is known about a wrong answer: the inputs, what should have come out, and what did."""

import ast
import contextlib
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from tinymixer.lessons.comparing import same
from tinymixer.lessons.exercise import Exercise, input_names
from tinymixer.lessons.running import Outcome, cut, run


@dataclass(frozen=True)
class Seen:
    """A wrong answer with everything that a hint may be drawn from.

    answers    the learner's functions
    cases      the inputs, one argument tuple per case
    expected, outcomes   what the reference and the learner's functions did with each case
    output     the first output that is wrong in any case; None where no case got as far as comparing one
    """

    exercise: Exercise
    answers: tuple[Any, ...]
    cases: list[tuple[Any, ...]]
    expected: list[Outcome]
    outcomes: list[Outcome]
    output: str | None

    @property
    def error(self) -> BaseException | None:
        """The first error that the answer raised."""
        return next((outcome.error for outcome in self.outcomes if outcome.error is not None), None)

    @property
    def input_names(self) -> list[str]:
        return input_names(self.exercise, min(map(len, self.cases)))

    @cached_property
    def pairs(self) -> list[tuple[Any, Any]]:
        """(expected, got) of the wrong output in each case; empty where a case has no outputs to compare."""
        if self.output is None or any(outcome.outputs is None for outcome in self.outcomes):
            return []
        found = []
        for right, outcome in zip(self.expected, self.outcomes, strict=False):
            assert right.outputs is not None
            assert outcome.outputs is not None
            found.append((right.outputs[self.output], outcome.outputs[self.output]))
        return found

    def agree(self, expected: Any, got: Any) -> bool:
        """Whether two values are the same, as the exercise compares them."""
        return same(expected, got, self.exercise.tolerance)

    def explained_by(self, change: Callable[[Any], Any]) -> bool:
        """Whether `change(got)` is right in every case. A change that cannot be made explains nothing."""
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            return bool(self.pairs) and all(self.agree(expected, change(got)) for expected, got in self.pairs)
        return False

    def returns_of(self, case: int, answers: tuple[Any, ...] | None = None) -> list[tuple[int, Any]]:
        """What each call of the learner's (or of other) functions returned in a case: (which function, the value)."""
        returned: list[tuple[int, Any]] = []

        def recorded(which: int, function: Any) -> Any:
            def call(*arguments: Any, **keywords: Any) -> Any:
                value = function(*arguments, **keywords)
                returned.append((which, value))
                return value

            return call

        functions = tuple(recorded(index, function) for index, function in enumerate(answers or self.answers))
        run(self.exercise, functions, self.cases[case])
        return returned

    @cached_property
    def definitions(self) -> list[ast.FunctionDef | None]:
        """The syntax tree of each of the learner's functions; None where its source cannot be had, as of a lambda."""
        return [definition_of(answer) for answer in self.answers]

    def uses(self, *names: str) -> bool:
        """Whether the source of the answer has one of these names."""
        return any(name in words for tree in self.definitions if tree for words in [_words_in(tree)] for name in names)


def definition_of(function: Any) -> ast.FunctionDef | None:
    """The syntax tree of a function, with the line numbers of its file."""
    with contextlib.suppress(Exception):  # a builtin, a class, a cell that is no longer there
        lines, first = inspect.getsourcelines(function)
        (tree,) = ast.parse(textwrap.dedent("".join(lines))).body
        if isinstance(tree, ast.FunctionDef) and tree.name == function.__name__:
            ast.increment_lineno(tree, first - 1)
            return tree
    return None


def _words_in(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def learners_frames(error: BaseException, answers: tuple[Any, ...]) -> Iterator[tuple[FrameType, TracebackType]]:
    """The frames of an error that run code of the files that the answers are in, the outermost first."""
    files = set()
    for answer in answers:
        with contextlib.suppress(Exception):
            files.add(inspect.getfile(inspect.unwrap(answer)))
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename in files:
            yield traceback.tb_frame, traceback
        traceback = traceback.tb_next


@dataclass(frozen=True)
class Place:
    """The expression in a learner's line that raised an error."""

    frame: FrameType
    text: str
    tree: ast.expr | None

    def value(self, node: ast.expr) -> Any:
        """The value of a part of it, worked out once more. Raises whatever that raises."""
        code = compile(ast.Expression(node), "<hint>", "eval")
        return eval(code, self.frame.f_globals, dict(self.frame.f_locals))


def place_of(error: BaseException, answers: tuple[Any, ...]) -> Place | None:
    """Where in the learner's code an error was raised, the innermost place."""
    frames = list(learners_frames(error, answers))
    if not frames:
        return None
    frame, traceback = frames[-1]
    positions = list(frame.f_code.co_positions())[traceback.tb_lasti // 2]
    first, last, begin, end = positions
    if first is None or last is None or begin is None or end is None:
        return None
    lines = [linecache.getline(frame.f_code.co_filename, number).encode() for number in range(first, last + 1)]
    if not any(lines):
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    text = b"".join(lines).decode(errors="replace")
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except SyntaxError:  # a statement, such as an assignment
        tree = None
    return Place(frame, cut(" ".join(text.split()), 80), tree)


def words_for(value: Any) -> str:
    """What a value is, in a few words: "an array of shape (3, 4)"."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None:
        return "None"
    if isinstance(value, bool | int | float | np.number):
        number = f"{value:.4g}" if isinstance(value, float | np.floating) else f"{value}"
        return cut(f"the number {number}.0" if _looks_whole(value, number) else f"the number {number}", 40)
    return f"a {type(value).__name__}"


def _looks_whole(value: Any, number: str) -> bool:
    """Whether a float is written like a whole number, 4 for 4.0, which hides what is wrong with it."""
    return isinstance(value, float | np.floating) and number.lstrip("-").isdigit()
