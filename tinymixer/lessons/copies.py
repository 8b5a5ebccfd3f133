"""Finds copies of lessons that another version of the course made, and brings them up to date."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinymixer.errors import CheckpointError, ConfigError, DataError, nearest
from tinymixer.files import keep_under, replacing
from tinymixer.lessons.course import LESSONS, Lesson
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.folder import lessons_source
from tinymixer.lessons.merging import digest, from_this_version, merged, recorded, source_of
from tinymixer.lessons.notebook import read_content
from tinymixer.text import reason_of

BACKUP = "before-update"
PAGES = ("map.ipynb", "cheatsheet.ipynb", "projects.ipynb")


@dataclass(frozen=True)
class Update:
    """What was done with one file, or would be.

    path     relative to the folder
    change   what changed, in a sentence; "" if nothing
    backup   the file that holds the earlier copy, if one is kept
    trouble  why the file could not be updated; it is as it was
    """

    path: Path
    change: str = ""
    backup: Path | None = None
    trouble: str = ""


def other_versions(folder: Path) -> list[str]:
    """The lessons in a folder (their stems) whose notebooks are copies of another version's. Damaged ones are not."""
    found = []
    for lesson in LESSONS:
        with contextlib.suppress(DataError):
            copy = folder / f"{lesson.stem}.ipynb"
            if copy.is_file() and not from_this_version(_read(copy), _read(lessons_source() / copy.name)):
                found.append(lesson.stem)
    return found


def remark_about(folder: Path) -> str:
    """A sentence about lessons of another version in a folder; "" if there are none."""
    stems = other_versions(folder)
    if not stems:
        return ""
    names = ", ".join(stems[:3]) + (f" and {len(stems) - 3} more" if len(stems) > 3 else "")
    verb, it = ("comes", "it") if len(stems) == 1 else ("come", "them")
    return (
        f"{names} in {folder} {verb} from another version of the course than the one installed: 'tinymixer lessons "
        f"update' renews {it} and keeps your answers ('--dry-run' shows what would change)."
    )


def update_folder(folder: Path, numbers: Iterable[str] = (), dry_run: bool = False) -> Iterator[Update]:
    """Bring the lessons of a folder up to date, all or those of these numbers, each with its solution.

    A learner's notebook is merged, and the earlier copy kept beside it. The map, the cheat sheet and solutions are
    replaced; the earlier copy of one that was changed is kept too. A file is written whole or stays as it was, and a
    damaged one costs none of the others. Raises DataError for a folder without lessons, ConfigError for an unknown
    number.
    """
    chosen = [_lesson(number) for number in numbers] or list(LESSONS)
    copies = [folder / f"{lesson.stem}.ipynb" for lesson in chosen]
    if not any(copy.is_file() for copy in copies):
        names = ", ".join(copy.name for copy in copies[:3]) + (" and so on" if len(copies) > 3 else "")
        raise DataError(
            f"There are no lessons to update in {folder}: expected {names}. 'tinymixer lessons' puts them there."
        )
    return _updates(folder, chosen, [] if len(chosen) < len(LESSONS) else [Path(page) for page in PAGES], dry_run)


def _updates(folder: Path, chosen: list[Lesson], pages: list[Path], dry_run: bool) -> Iterator[Update]:
    for page in pages:
        yield from _attempt(folder, page, None, dry_run)
    for lesson in chosen:
        yield from _attempt(folder, Path(f"{lesson.stem}.ipynb"), lesson, dry_run)
        yield from _attempt(folder, Path("solutions") / f"{lesson.stem}.ipynb", None, dry_run)


def _lesson(number: str) -> Lesson:
    known = {lesson.number: lesson for lesson in LESSONS}
    if number not in known and number.zfill(2) in known:
        number = number.zfill(2)
    if number not in known:
        raise ConfigError(f"There is no lesson {number!r}: expected a number such as 02.{nearest(number, known)}")
    return known[number]


def _attempt(folder: Path, name: Path, lesson: Lesson | None, dry_run: bool) -> Iterator[Update]:
    path = folder / name
    if not path.is_file():
        return
    try:
        yield _update(path, name, lesson, dry_run)
    except (DataError, CheckpointError) as error:
        yield Update(name, trouble=str(error))
    except Exception as error:  # a notebook may hold anything, and it costs none of the others
        yield Update(name, trouble=f"{name.name} could not be merged ({reason_of(error)}): it is as it was.")


def _update(path: Path, name: Path, lesson: Lesson | None, dry_run: bool) -> Update:
    """One file. lesson: whose answers it holds; None for a page or a solution, which is replaced."""
    original = lessons_source() / name
    old, new = _read(path), _read(original)
    if lesson is None:
        if [digest(cell) for cell in old["cells"]] == [digest(cell) for cell in new["cells"]]:
            return Update(name)
        untouched = recorded(old) == {cell.get("id"): digest(cell) for cell in old["cells"]}
        content, change, keep = original.read_bytes(), "replaced by this version's.", not untouched
    else:
        if from_this_version(old, new):
            return Update(name)
        exercises = [exercise for exercise in all_exercises() if exercise.lesson == lesson.number]
        result = merged(old, new, exercises)
        text = json.dumps(result.notebook, indent=1, ensure_ascii=False) + "\n"
        content, change, keep = text.encode("utf-8", "surrogatepass"), str(result), True
    backup = _free_name(path) if keep else None
    if not dry_run:
        _write(path, content, backup)
    return Update(name, change, backup and name.with_name(backup.name))


def _write(path: Path, content: bytes, backup: Path | None) -> None:
    """Replace a file, its earlier content kept under another name. If that fails, all is as before."""
    try:
        if backup is not None:
            keep_under(path, backup)
    except OSError as error:
        raise DataError(f"{path.name} is left as it is: no backup could be made ({reason_of(error)}).") from error
    try:
        with replacing(path) as file:
            file.write(content)
    except BaseException:
        if backup is not None:
            backup.unlink(missing_ok=True)
        raise


def _free_name(path: Path) -> Path:
    """A name for a backup that no file has: 02_linear.before-update.ipynb, then before-update-2 and so on."""
    number = 1
    while True:
        name = path.with_name(f"{path.stem}.{BACKUP}{f'-{number}' if number > 1 else ''}{path.suffix}")
        if not name.exists():
            return name
        number += 1


def _read(path: Path) -> dict[str, Any]:
    """A notebook whose cells can be worked with. Raises DataError for one that is damaged."""
    content = read_content(path)
    try:
        notebook = json.loads(content)
        for cell in notebook["cells"]:
            source_of(cell).encode("utf-8", "surrogatepass")
            cell["cell_type"] = str(cell["cell_type"])
        assert isinstance(notebook.get("metadata", {}), dict)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError, AssertionError) as error:
        raise DataError(
            f"{path.name} is not a Jupyter notebook that can be updated: it is damaged. Rename it, and 'tinymixer "
            "lessons' puts a fresh one in its place."
        ) from error
    return dict(notebook)
