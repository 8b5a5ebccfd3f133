"""The board of a course: what is done, what is wrong, what is still to do."""

from dataclasses import dataclass
from pathlib import Path

from tinymixer.errors import DataError
from tinymixer.lessons.answers import grade_notebook
from tinymixer.lessons.course import LESSONS, Lesson
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.grading import PASSED, Verdict


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

    Raises DataError when there is none, or when one cannot be read.
    """
    states = []
    for lesson in LESSONS:
        path = notebook_of(lesson, folder)
        if path is not None:
            numbers = [exercise.number for exercise in all_exercises() if exercise.lesson == lesson.number]
            states.append(LessonState(lesson, list(grade_notebook(path, numbers).values())))
    if not states:
        raise DataError(
            f"There are no lessons in {folder}: expected {LESSONS[0].stem}.ipynb and so on. 'tinymixer lessons' puts "
            "them there, or name the folder where yours are."
        )
    return states


def notebook_of(lesson: Lesson, folder: Path) -> Path | None:
    """The notebook of a lesson in a folder, or its source; None where there is neither."""
    paths = (folder / f"{lesson.stem}{ending}" for ending in (".ipynb", ".py"))
    return next((path for path in paths if path.is_file()), None)


def grade_exercise(number: str, folder: Path) -> Verdict:
    """The verdict on one exercise as answered in a folder. Raises DataError where its notebook is missing."""
    lesson = LESSONS[int(number.partition(".")[0])]
    path = notebook_of(lesson, folder)
    if path is None:
        raise DataError(f"{lesson.stem}.ipynb is not in {folder}: 'tinymixer lessons' puts it there.")
    return grade_notebook(path, [number])[number]
