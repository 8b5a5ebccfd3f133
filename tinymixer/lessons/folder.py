"""The learner's own folder of notebooks, filled from the package and never overwritten."""

import shutil
from pathlib import Path

from tinymixer.errors import DataError

MAP = "map.ipynb"
TASKS_FILE = "test_tasks.py"
TASKS = '''"""The exercises as tests: `pytest -k task_2_3` checks exercise 2.3 as it stands in these notebooks."""

from pathlib import Path

import pytest

from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.grading import NOT_YET
from tinymixer.lessons.progress import grade_exercises, notebook_of

FOLDER = Path(__file__).parent
HERE = [exercise for exercise in all_exercises() if notebook_of(LESSONS[exercise.lesson], FOLDER)]


@pytest.fixture(scope="session")
def verdicts(request):
    chosen = [item.callspec.params["number"] for item in request.session.items if item.path == Path(__file__)]
    return grade_exercises(chosen, FOLDER)  # in processes of their own, with limits of time and memory


@pytest.mark.parametrize("number", [pytest.param(exercise.number, id=exercise.task) for exercise in HERE])
def test_exercise(number, verdicts):
    verdict = verdicts[number]
    if verdict.state == NOT_YET:
        pytest.skip("not yet")
    assert verdict.passed, f"\\n{verdict}"
'''


def lessons_source() -> Path:
    """The folder of the original notebooks: in an installed package, or beside the package in a clone."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "lesson_notebooks", package.parent / "lessons"
    for folder in (installed, checkout):
        if (folder / MAP).is_file():
            return folder
    raise DataError(f"The lessons are missing in {installed}; install tinymixer again.")


def learners_folder(beside: Path) -> Path:
    """The folder of a learner's notebooks: `beside` itself if it is such a folder, else `tinymixer-lessons` in it."""
    return beside if (beside / MAP).is_file() and (beside / TASKS_FILE).is_file() else beside / "tinymixer-lessons"


def fill_folder(folder: Path) -> list[Path]:
    """Copy the map, the lessons, the solutions and the tests that the folder does not have yet; return what is new.

    Existing files are left alone: they may hold somebody's answers. Raises DataError when the folder cannot be
    written to.
    """
    source = lessons_source()
    files = [*source.glob("*.ipynb"), *source.glob("solutions/*.ipynb")]
    added = []
    try:
        for path in sorted(files):
            target = folder / path.relative_to(source)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                added.append(target)
        tasks = folder / TASKS_FILE
        if not tasks.exists():
            tasks.write_text(TASKS, encoding="utf-8")
            added.append(tasks)
    except OSError as error:
        raise DataError(
            f"The lessons cannot be copied into {folder}: {error.strerror or error}. Name another folder."
        ) from error
    return added
