"""Runs the statements that a notebook's answers need, and checks its exercises, in this process.

`isolated.py` does this in a separate process.
"""

import contextlib
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinymixer.lessons.exercise import Exercise, find_exercise
from tinymixer.lessons.grading import WRONG, Verdict, examine
from tinymixer.lessons.notebook import EVERYTHING, Notebook, Statement
from tinymixer.lessons.running import Printed, cut, message_of

Place = tuple[int, int]  # a statement's cell and line
Examiner = Callable[..., Verdict]  # called with an exercise's number and the learner's functions


class NotebookCommand(Exception):  # noqa: N818, the learner reads it
    """An answer needs the result of a line with % or !, which is not run here."""

    def __str__(self) -> str:
        return "commands of the notebook (% or !) are not run here; write the value itself"


class _NoShell:
    """Stands in for IPython's shell."""

    def __getattr__(self, name: str) -> Any:
        raise NotebookCommand


def _display(*values: Any, **_: Any) -> None:
    """Stands in for IPython's display, which every notebook has without an import."""
    sys.stdout.write(" ".join(map(repr, values)) + "\n")


@dataclass
class Answers:
    """The definitions in a notebook that its exercises need.

    names     the functions, and everything that they use
    troubles  a sentence for each cell or statement that could not be run
    lost      name -> the sentence about the statement that should have defined it
    examine   gives the verdict on an exercise's functions
    """

    notebook: Notebook
    names: dict[str, Any]
    troubles: list[str]
    lost: dict[str, str] = field(default_factory=dict)
    examine: Examiner = examine

    def verdict(self, exercise: Exercise) -> Verdict:
        """The verdict on this notebook's answer to an exercise."""
        missing = [name for name in exercise.functions if name not in self.names]
        if missing:
            said = " ".join(self.troubles) or "Its cell may have been deleted: take a fresh notebook beside yours."
            sentence = f"the notebook does not define {' and '.join(missing)}. {cut(said, 600)}"
            return Verdict(exercise.number, exercise.title, WRONG, sentence, {})
        verdict = self.examine(exercise.number, *(self.names[name] for name in exercise.functions))
        lost = " ".join(dict.fromkeys(self.lost[name] for name in sorted(self._rests_on(exercise) & self.lost.keys())))
        if lost and verdict.state == WRONG:
            return replace(verdict, details=verdict.details | {"notebook": cut(lost, 600)})
        return verdict

    def complete(self, exercise: Exercise) -> bool:
        """Whether everything that the exercise's functions use is defined already."""
        bound = {name for one in self.notebook.statements for name in one.binds}
        return all(name in self.names for name in self._rests_on(exercise) & bound - {EVERYTHING})

    def defined_again(self, exercise: Exercise, index: int) -> bool:
        """Whether a statement after this one defines one of the exercise's functions."""
        return any(one.binds.intersection(exercise.functions) for one in self.notebook.statements[index + 1 :])

    def _rests_on(self, exercise: Exercise) -> set[str]:
        needed = (self.notebook.statements[index] for index in self.notebook.needed_for(exercise.functions))
        return set(exercise.functions).union(*(one.needs for one in needed))


def write_files(notebook: Notebook, folder: Path) -> None:
    """Write what %%writefile cells would write, but into `folder`."""
    for name, text in notebook.files.items():
        target = (folder / name).resolve()
        if target.is_relative_to(folder.resolve()):
            with contextlib.suppress(OSError, ValueError):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")


def grade(
    notebook: Notebook,
    numbers: list[str],
    skip: dict[Place, str] | None = None,
    before_statement: Callable[[Statement], None] = lambda statement: None,
    before_exercise: Callable[[str], None] = lambda number: None,
    examine: Examiner = examine,
) -> Iterator[Verdict]:
    """Run the statements that these exercises need, and give the verdict on each exercise at the cell that checks it.

    So an answer sees the same constants as in the notebook, even if later cells change them. An exercise is examined at
    the end instead if it needs something from a later cell, is wrong and defined again later, or is checked nowhere.
    A statement that fails because a name is missing is run again at the end.

    skip   statements not to run, each with the sentence that says why
    before_statement, before_exercise   called before each one
    examine   gives the verdict on an exercise's functions
    """
    for file, text in notebook.texts.items():
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = types.ModuleType("__main__")
    answers = Answers(notebook, vars(module), list(notebook.troubles), examine=examine)
    answers.names |= {"get_ipython": _NoShell, "display": _display}
    left = [find_exercise(number) for number in numbers]
    needed = set(notebook.needed_for(name for exercise in left for name in exercise.functions))
    waiting: list[Statement] = []
    with _as_main(module):
        for index, one in enumerate(notebook.statements):
            if index in needed and not _run(one, answers, skip or {}, before_statement):
                waiting.append(one)
            for exercise in [one for one in left if notebook.checks.get(one.number) == index]:
                if answers.complete(exercise):
                    before_exercise(exercise.number)
                    verdict = answers.verdict(exercise)
                    if verdict.passed or not answers.defined_again(exercise, index):
                        left.remove(exercise)
                        yield verdict
        while again := [one for one in waiting if not _run(one, answers, skip or {}, before_statement)]:
            if len(again) == len(waiting):
                break
            waiting = again
        for said in (answers.lost.get(name) for one in again for name in one.binds):
            if said and said not in answers.troubles:
                answers.troubles.append(said)
        for exercise in left:
            before_exercise(exercise.number)
            yield answers.verdict(exercise)


@contextlib.contextmanager
def _as_main(module: types.ModuleType) -> Iterator[None]:
    """Make the notebook the module __main__, where dataclasses and pickles look names up."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def _run(
    one: Statement, answers: Answers, skip: dict[Place, str], before_statement: Callable[[Statement], None]
) -> bool:
    """Run a statement. Returns False where a name that it needs is not defined (yet)."""
    later = False
    if said := skip.get((one.cell, one.line)):
        answers.troubles.append(said)
    else:
        before_statement(one)
        try:
            with contextlib.redirect_stdout(Printed()):
                exec(one.code, answers.names)
        except BaseException as error:  # a statement may raise anything, SystemExit too
            said = f"{one.place[0].upper()}{one.place[1:]}: {message_of(error)}."
            later = isinstance(error, NameError)
            if not later:
                answers.troubles.append(said)
    for name in one.binds:
        if said:
            answers.lost[name] = said
        else:
            answers.lost.pop(name, None)
    return not later
