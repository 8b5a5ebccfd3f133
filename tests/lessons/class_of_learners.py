"""A class of learners' folders, some with a hostile item, graded one by one.

python -m tests.lessons.class_of_learners        a class of 30: prints the seconds of each folder, and what is wrong
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.folder import fill_folder, lessons_source

LARGEST_SECONDS = 60
ANSWER = "def my_bias_gradient(dy):\n    "
HOSTILE = {  # -> the source of exercise 2.2, or what is in the place of 02_linear.ipynb
    "loop": ANSWER + "i = 0\n    while i < 10:\n        pass\n    return dy.sum(axis=0)",
    "exit": ANSWER + "exit()",
    "output": ANSWER + "while True:\n        print('x' * 100_000)",
    "memory": ANSWER + "kept = []\n    while True:\n        kept.append(np.ones((1000, 1000)))",
    "damaged": b'{"cells": [{"cell_type": "code", "sour',
}


@dataclass(frozen=True)
class Learner:
    """A folder: lessons that are in it, those that are solved (the others are untouched), a key of HOSTILE or None."""

    folder: Path
    lessons: set[str]
    solved: set[str]
    hostile: str | None

    def expected(self) -> dict[str, str]:
        """exercise -> the state that its row must have."""
        exercises = [one for one in all_exercises() if one.lesson in self.lessons]
        states = {one.number: "passed" if one.lesson in self.solved else "not yet" for one in exercises}
        if self.hostile:
            states["2.2"] = "wrong"
        if self.hostile == "damaged":
            states |= {number: "wrong" for number in states if number.startswith("2.")}
        return states


def make_class(folder: Path, hostile: list[str | None], lessons: set[str] | None = None) -> list[Learner]:
    """A folder per entry, each with its own lessons solved; lesson 02 always is, but for its hostile item."""
    learners = []
    for index, item in enumerate(hostile):
        kept = lessons or {lesson.number for lesson in LESSONS}
        solved = {"02", *(f"{number:02d}" for number in range(3, 3 + index % 12))}
        learner = Learner(folder / f"learner_{index:02d}", kept, solved, item)
        fill_folder(learner.folder)
        for path in learner.folder.glob("[0-9]*_*.ipynb"):
            if (number := path.name.split("_")[0]) not in kept:
                path.unlink()
            elif number in learner.solved:
                path.write_bytes((lessons_source() / "solutions" / path.name).read_bytes())
        if item:
            _spoil(learner.folder / "02_linear.ipynb", HOSTILE[item])
        learners.append(learner)
    return learners


def _spoil(path: Path, item: str | bytes) -> None:
    if isinstance(item, bytes):
        path.write_bytes(item)
        return
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "def my_bias_gradient(" in source:
            cell["source"] = item + "\n\n\ncheck(" + source.split("\ncheck(", 1)[1]
    path.write_text(json.dumps(notebook), encoding="utf-8")


def grade(learner: Learner) -> tuple[float, list[str]]:
    """The seconds that `tinymixer lessons status FOLDER --json` takes, and a sentence for each row not as expected."""
    command = [sys.executable, "-m", "tinymixer", "lessons", "status", str(learner.folder), "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    rows = {row["exercise"]: row for row in json.loads(done.stdout)}
    wrong = [] if rows.keys() == learner.expected().keys() else ["other rows than expected"]
    wrong += [
        f"{number} is {rows[number]['state']}, expected {state}: {rows[number]['sentence']}"
        for number, state in learner.expected().items()
        if rows[number]["state"] != state
    ]
    if learner.hostile and len(rows["2.2"]["sentence"]) < 10:
        wrong.append("2.2 has no sentence")
    return seconds, wrong


def main() -> None:
    """Print a line per folder and one over all; exit with 1 where a row is wrong or a folder takes too long."""
    with tempfile.TemporaryDirectory() as folder:
        learners = make_class(Path(folder), [None] * 25 + list(HOSTILE))
        graded = []
        for learner in learners:
            graded.append(grade(learner))
            print(
                f"{learner.folder.name}  {learner.hostile or '-':<8} {graded[-1][0]:5.1f} s  {graded[-1][1] or 'right'}"
            )
    slowest, wrong = max(seconds for seconds, _ in graded), sum(bool(wrong) for _, wrong in graded)
    total = sum(seconds for seconds, _ in graded)
    print(f"{len(graded)} folders in {total:.0f} s, the slowest in {slowest:.1f} s; {wrong} with a wrong row")
    sys.exit(bool(wrong) or slowest > LARGEST_SECONDS)


if __name__ == "__main__":
    main()
