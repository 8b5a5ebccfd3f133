"""Runs the lessons' solutions in a headless Chromium and says how long each takes there.

    python site/lite/run_lessons.py build/site/lite              all of them, one after the other
    python site/lite/run_lessons.py build/site/lite 02 10        some
    python site/lite/run_lessons.py build/site/lite --exercises  the notebooks to be filled in

Ends with 1 where a cell raises, a check does not pass, or a lesson takes longer than `--seconds`.
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from lite_page import LiteHandler, Visit, errors_of, text_of  # puts site/ on the path
from playwright.sync_api import Browser, Error

from browsing import NoChromiumError, chromium, served  # isort: skip

from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.grading import MARKS, WRONG

SLOW = 5.0  # seconds of processor time from which on a cell is named


def processor_seconds() -> float:
    """Processor time of Chromium's processes so far: what other work on the machine hardly changes. 0 off Linux."""
    parents, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            spent[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    ours, found = {os.getpid()}, True
    while found:
        found = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= found
    return sum(spent.get(pid, 0.0) for pid in ours - {os.getpid()})


def run(browser: Browser, address: str, path: str, seconds: float) -> tuple[str, bool]:
    """Run a notebook cell by cell; return a line about it and whether all is well."""
    visit = Visit(browser, address)
    slow, began, spent = [], time.monotonic(), processor_seconds()
    try:
        visit.open(path)
        cells = visit.cells()
        for index in [index for index, cell in enumerate(cells) if cell["cell_type"] == "code"]:
            started, so_far = time.monotonic(), processor_seconds()
            left = seconds - (started - began)
            if left <= 0:
                return (
                    f"{path}: not at its end after {seconds:.0f} s, before cell {index}; slow: {', '.join(slow)}",
                    False,
                )
            try:
                visit.run(index, left)
            except Error:
                return f"{path}: not at its end after {seconds:.0f} s, in cell {index}; slow: {', '.join(slow)}", False
            taken = processor_seconds() - so_far
            if taken > SLOW:
                slow.append(f"cell {index}: {taken:.0f} s")
        before, cells = cells, visit.cells()
        problems = errors_of(cells) + [
            f"cell {index}: {text_of(cell)[:300]}"
            for index, cell in enumerate(cells)
            if text_of(cell).count(f"{MARKS[WRONG]} ") > text_of(before[index]).count(f"{MARKS[WRONG]} ")
        ]
        problems += [f"asked another server: {url}" for url in visit.elsewhere]
        line = f"{path}: {time.monotonic() - began:.0f} s, {processor_seconds() - spent:.0f} s of processor time"
        return "\n  ".join([line + (f"; slow: {', '.join(slow)}" if slow else ""), *problems]), not problems
    finally:
        visit.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the lessons in a headless Chromium.")
    parser.add_argument("folder", type=Path, help="the built site")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers of lessons; all without")
    parser.add_argument("--exercises", action="store_true", help="the notebooks to be filled in, not the solutions")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each lesson [default: 600]")
    arguments = parser.parse_args()
    stems = [lesson.stem for lesson in LESSONS if not arguments.lessons or lesson.number in arguments.lessons]
    failures = 0
    try:
        with served(arguments.folder, LiteHandler) as address, chromium() as browser:
            for stem in stems:
                path = f"{stem}.ipynb" if arguments.exercises else f"solutions/{stem}.ipynb"
                line, good = run(browser, address, path, arguments.seconds)
                print(line, flush=True)
                failures += not good
    except NoChromiumError as error:
        sys.exit(f"error: {error}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
