"""Finds the mistake in the learner's own code: makes one small change after another and sees which one makes it right.

A change that makes the output right on all inputs names the mistake and its line; the hint tells where it is and of
what kind, never what to write. The learner's function itself is not touched: copies of it are run.
"""

import ast
import contextlib
import itertools
import math
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any

from tinymixer.lessons.hints.edits import Edit, edits
from tinymixer.lessons.hints.seen import Seen, definition_of
from tinymixer.lessons.running import Outcome, cut, quietly, run_without_words

SECONDS = 1.0  # of processor time, for all changes together
MOST = 3000  # changes
SLOW = 0.02  # seconds for one case: of answers that take longer, too few changes could be tried
LARGE = 10_000
ROUNDS = 100_000  # of all loops together in one run: a changed loop may have no end
LONGEST = 0.25  # seconds of processor time for one change: numbers or lists that double in every round end there
WRITERS = ("open", "save", "savez", "savez_compressed", "savetxt", "tofile", "write_text", "write_bytes", "unlink")


class _TooLong(BaseException):
    """Ends a changed answer whose loops do not end."""


def repaired(seen: Seen) -> str:
    """The hint for the first change that makes the wrong output right in every case; "" where none does."""
    if _may_grow_large(seen) or seen.uses(*WRITERS):  # a changed answer might write to another file
        return ""
    with quietly(seen.answers):
        return _first_that_helps(seen)


def _first_that_helps(seen: Seen) -> str:
    first, started = _first_wrong_case(seen), time.process_time()
    run_without_words(seen.exercise, seen.answers, seen.cases[first])
    if time.process_time() - started > SLOW:
        return ""
    until = started + SECONDS
    for which, tree in enumerate(seen.definitions):
        if tree is None or getattr(seen.answers[which], "__closure__", None):
            continue
        workshop = _Workshop(seen, which)
        for definition in (tree, *workshop.helpers):
            for edit in itertools.islice(edits(definition), MOST):
                if time.process_time() > until:
                    return ""
                if workshop.works(definition, edit, first):
                    return _said(edit, definition)
    return ""


def _may_grow_large(seen: Seen) -> bool:
    """Whether a change might make an array or text of a size that no computer has.

    So it is where inputs are such numbers, or where the learner wrote one: 10**7 is one change away from 10**8.
    """
    if any(_is_large(node) for tree in seen.definitions if tree is not None for node in ast.walk(tree)):
        return True
    numbers = [value for case in seen.cases for value in case if isinstance(value, int | float)]
    makers = ("zeros", "ones", "empty", "full", "range", "arange", "eye", "tile", "repeat", "linspace")
    return any(abs(number) > LARGE for number in numbers) and seen.uses(*makers)


def _is_large(node: ast.AST) -> bool:
    """Whether code is a whole number above LARGE, as in 20_000 or 10**7."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and node.value > LARGE
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)):
        return False
    base, power = node.left, node.right
    if not (isinstance(base, ast.Constant) and isinstance(power, ast.Constant)):
        return False
    if not (isinstance(base.value, int) and isinstance(power.value, int) and base.value > 1 and power.value > 0):
        return False
    return power.value * math.log(base.value) > math.log(LARGE)


def _first_wrong_case(seen: Seen) -> int:
    """The case that a change is tried on first."""
    for index, (right, outcome) in enumerate(zip(seen.expected, seen.outcomes, strict=False)):
        if not _right(seen, right, outcome):
            return index
    return 0


def _right(seen: Seen, right: Outcome, outcome: Outcome, before: Outcome | None = None) -> bool:
    """Whether an outcome is right up to the output that was wrong, and in the later ones right or as it was before.

    Where True or False is asked for, it must be right: too many changes leave it as it was.
    """
    if outcome.outputs is None or right.outputs is None:
        return False
    names = seen.exercise.compared
    place = len(names) if seen.output is None else names.index(seen.output) + 1
    if not all(seen.agree(right.outputs[name], outcome.outputs[name]) for name in names[:place]):
        return False
    return before is None or all(
        seen.agree(right.outputs[name], outcome.outputs[name])
        or (
            before.outputs is not None
            and not isinstance(right.outputs[name], bool)
            and seen.agree(before.outputs[name], outcome.outputs[name])
        )
        for name in names[place:]
    )


class _Workshop:
    """Copies of one of the learner's functions, and of the functions of theirs that it calls, in names of their own."""

    def __init__(self, seen: Seen, which: int) -> None:
        self.seen, self.which = seen, which
        self.function = seen.answers[which]
        self.names = dict(self.function.__globals__) | {"__limited__": _limited}
        self.helpers: list[ast.FunctionDef] = []
        for name in self.function.__code__.co_names:
            helper = self.names.get(name)
            own = isinstance(helper, types.FunctionType) and helper.__module__ == self.function.__module__
            if own and (tree := definition_of(helper)):
                self.helpers.append(tree)

    def works(self, definition: ast.FunctionDef, edit: Edit, first: int) -> bool:
        """Whether the answer is right with this change."""
        undo = edit.put()
        try:
            made = self._make(definition)
        except (SyntaxError, ValueError, TypeError, RecursionError):
            return False
        finally:
            undo.put()
        main = made if definition.name == self.function.__name__ else self._with_helper(definition.name, made)
        _Rounds.left, _Rounds.until = ROUNDS, time.process_time() + LONGEST
        answers = (*self.seen.answers[: self.which], main, *self.seen.answers[self.which + 1 :])
        cases = [first, *(index for index in range(len(self.seen.cases)) if index != first)]
        with contextlib.suppress(Exception):  # what comes back may fail when it is compared
            seen = self.seen
            return all(
                _right(
                    seen, seen.expected[i], run_without_words(seen.exercise, answers, seen.cases[i]), seen.outcomes[i]
                )
                for i in cases
            )
        return False

    def _make(self, definition: ast.FunctionDef) -> types.FunctionType:
        plain = ast.FunctionDef(**dict(ast.iter_fields(definition)) | {"decorator_list": [], "returns": None})
        module = ast.Module([ast.copy_location(plain, definition)], [])
        with _limited_loops(definition.body):
            code = compile(module, "<a changed answer>", "exec")
        (inner,) = (one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == definition.name)
        original = self.function if definition.name == self.function.__name__ else self.names[definition.name]
        made = types.FunctionType(inner, self.names, inner.co_name, original.__defaults__)
        made.__kwdefaults__ = original.__kwdefaults__
        return made

    def _with_helper(self, name: str, helper: types.FunctionType) -> types.FunctionType:
        names = self.names | {name: helper}
        function = self.function
        made = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
        made.__kwdefaults__ = function.__kwdefaults__
        return made


@contextlib.contextmanager
def _limited_loops(body: list[ast.stmt]) -> Iterator[None]:
    """Let every loop count its rounds, while it is compiled."""
    undo: list[tuple[ast.stmt, str, ast.expr]] = []
    counter = ast.Name("__limited__", ast.Load())
    for loop in _loops(body):
        field = "iter" if isinstance(loop, ast.For) else "test"
        old = getattr(loop, field)
        new: ast.expr = ast.Call(counter, [old], [])
        if field == "test":
            new = ast.BoolOp(ast.And(), [ast.Call(counter, [], []), old])
        setattr(loop, field, ast.fix_missing_locations(ast.copy_location(new, old)))
        undo.append((loop, field, old))
    try:
        yield
    finally:
        for changed, field, old in undo:
            setattr(changed, field, old)


def _loops(body: list[ast.stmt]) -> Iterator[ast.For | ast.While]:
    for one in body:
        if isinstance(one, ast.For | ast.While):
            yield one
        for field in ("body", "orelse"):
            yield from _loops(getattr(one, field, []))


class _Rounds:
    """How many rounds of loops are left to the changed answer that runs, and until when (processor time)."""

    left, until = ROUNDS, 0.0


def _limited(items: Iterable[Any] | None = None) -> Any:
    """For a for loop: its items, counted. For a while, without items: True, until there were too many rounds."""
    return _round() if items is None else (item for item in items if _round())


def _round() -> bool:
    _Rounds.left -= 1
    if _Rounds.left < 0 or time.process_time() > _Rounds.until:
        raise _TooLong
    return True


def _said(edit: Edit, definition: ast.FunctionDef) -> str:
    """The sentence for a change, with the learner's expression and line in it."""
    here = cut(ast.unparse(edit.here), 70).replace("\n", " ")
    line = next(
        (cut(ast.unparse(one).split("\n")[0], 90) for one in _statements(definition) if _holds(one, edit.here)), here
    )
    return edit.said.replace("{here}", here).replace("{line}", line)


def _statements(tree: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function, the innermost first."""
    return [one for one in reversed(list(ast.walk(tree))) if isinstance(one, ast.stmt) and one is not tree]


def _holds(statement: ast.stmt, node: ast.AST) -> bool:
    return any(one is node for one in ast.walk(statement))
