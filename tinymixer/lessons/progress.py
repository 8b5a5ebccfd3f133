"""A learner's progress: what is done, what is wrong, what is still to do."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinymixer.abilities import thread_pool
from tinymixer.errors import DataError
from tinymixer.lessons.course import LESSONS, Lesson
from tinymixer.lessons.exercise import all_exercises, find_exercise
from tinymixer.lessons.grading import MARKS, PASSED, WRONG, Verdict
from tinymixer.lessons.isolated import Patience, grade_notebook

SIDE_BY_SIDE = 4  # notebooks at a time, so that one that runs into its time limit does not delay the others


@dataclass(frozen=True)
class LessonState:
    """A lesson and the verdict on each of its exercises."""

    lesson: Lesson
    verdicts: list[Verdict]

    @property
    def done(self) -> int:
        return sum(verdict.state == PASSED for verdict in self.verdicts)


def grade_folder(folder: Path) -> list[LessonState]:
    """The state of every lesson whose notebook (or jupytext source) lies in the folder.

    Each is graded in a separate process, so none affects the others. Raises DataError when there is none.
    """
    found = [(lesson, path) for lesson in LESSONS if (path := notebook_of(lesson, folder)) is not None]
    if not found:
        raise DataError(
            f"There are no lessons in {folder}: expected {next(iter(LESSONS)).stem}.ipynb and so on. 'tinymixer "
            "lessons' puts them there, or name the folder where yours are."
        )
    graded = _graded([(path, _numbers(lesson)) for lesson, path in found])
    return [LessonState(lesson, [graded[number] for number in _numbers(lesson)]) for lesson, _ in found]


def summary(states: list[LessonState]) -> str:
    """How many exercises are done, and which comes next."""
    said, following = _how_many(states), _following(states)
    return said if following is None else f"{said}\n{_named(following)}"


def _how_many(states: list[LessonState]) -> str:
    return f"{sum(state.done for state in states)} of {sum(len(state.verdicts) for state in states)} exercises done"


def _following(states: list[LessonState]) -> Verdict | None:
    """The first exercise that is not done."""
    return next((verdict for state in states for verdict in state.verdicts if not verdict.passed), None)


def _named(following: Verdict) -> str:
    return f"next: {following.number} {following.title}"


def progress_text(states: list[LessonState], painted: Callable[[str, str], str] = lambda mark, state: mark) -> str:
    """A line per lesson with a mark per exercise, followed by what is wrong. painted: colours a mark by its state."""
    lines = []
    width = max(len(state.lesson.title) for state in states)
    most = max(len(state.verdicts) for state in states)
    for state in states:
        marks = " ".join(painted(MARKS[verdict.state], verdict.state) for verdict in state.verdicts)
        padding = " " * 2 * (most - len(state.verdicts))
        share = f"{state.done} of {len(state.verdicts)}"
        lines.append(f"{state.lesson.number:<3} {state.lesson.title:<{width}}  {marks}{padding}  {share}")
    wrong = [verdict for state in states for verdict in state.verdicts if verdict.state == WRONG]
    lines += [f"\n{_how_many(states)}", *(f"\n{verdict}" for verdict in wrong)]
    following = _following(states)
    if following is not None and following.state != WRONG:  # one that is wrong stands above already
        lines.append(_named(following))
    return "\n".join(lines) + "\n"


def _graded(notebooks: list[tuple[Path, list[str]]]) -> dict[str, Verdict]:
    """The verdicts on exercises of several notebooks, some side by side."""
    patience = Patience()
    with thread_pool(SIDE_BY_SIDE) as pool:
        try:
            graded = [pool.submit(grade_notebook, path, numbers, patience) for path, numbers in notebooks]
            return {number: verdict for one in graded for number, verdict in one.result().items()}
        except BaseException:
            patience.cancelled.set()  # Ctrl-C: the processes are ended before this one goes on
            raise


def _numbers(lesson: Lesson) -> list[str]:
    return [exercise.number for exercise in all_exercises() if exercise.lesson == lesson.number]


def notebook_of(lesson: Lesson, folder: Path) -> Path | None:
    """The notebook of a lesson in a folder, or its source; None where there is neither.

    "Copy of" is what Colab puts before the name of a copy in Drive.
    """
    names = (f"{lesson.stem}.ipynb", f"{lesson.stem}.py", f"Copy of {lesson.stem}.ipynb")
    paths = (folder / name for name in names)
    return next(
        (path for path in paths if os.path.lexists(path)), None
    )  # one that cannot be read gets a sentence later


def grade_exercise(number: str, folder: Path) -> Verdict:
    """The verdict on one exercise as answered in a folder; see `grade_exercises`."""
    return grade_exercises([number], folder)[number]


def grade_exercises(numbers: list[str], folder: Path) -> dict[str, Verdict]:
    """The verdicts on exercises as answered in a folder, each notebook in a process of its own.

    Raises ConfigError for an unknown exercise, DataError where a notebook is missing.
    """
    notebooks: dict[Path, list[str]] = {}
    for number in numbers:
        lesson = LESSONS[find_exercise(number).lesson]
        path = notebook_of(lesson, folder)
        if path is None:
            raise DataError(f"{lesson.stem}.ipynb is not in {folder}: 'tinymixer lessons' puts it there.")
        notebooks.setdefault(path, []).append(number)
    return _graded(list(notebooks.items()))
