"""Runs the lessons' solutions cell by cell in Pyodide under Node, and says how much processor time each cell takes.

    python site/lite/run_cells.py build/site/lite/static/pyodide          all of them, one after the other
    python site/lite/run_cells.py build/site/lite/static/pyodide 02 10    some
    python site/lite/run_cells.py build/site/lite/static/pyodide 02 --cells 3    the first three code cells

No browser is needed. Times are processor time of Node with all its threads, since the time on the clock is many times
as long where the machine has other work to do. Chromium runs the same V8; what it adds, `run_lessons.py` measures.
For Linux and macOS.

Ends with 1 where a cell raises, a check does not pass, or a lesson takes longer than `--seconds`.
"""

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinymixer.lessons.course import LESSONS

HERE = Path(__file__).resolve().parent
SOLUTIONS = HERE.parents[1] / "lessons" / "solutions"
IN_PYODIDE = HERE / "cells_in_pyodide.py"
SHOWN = 0.5  # processor seconds from which on a cell is named


class RunError(Exception):
    """Pyodide did not get to the notebook's end; the message says why."""


def cells_of(pyodide: Path, path: Path, seconds: int, cells: int | None) -> Iterator[dict[str, Any]]:
    """What `cells_in_pyodide.py` reports, as it comes: first the loading, then every code cell.

    Raises RunError where Node ends early, or has taken this many processor seconds.
    """
    settings = {"folder": str(path.parent), "name": path.name, "cells": cells}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        script = Path(folder) / "script.py"
        script.write_text(f"SETTINGS = {settings!r}\n{IN_PYODIDE.read_text(encoding='utf-8')}", encoding="utf-8")
        with subprocess.Popen(
            ["node", str(HERE / "run_in_pyodide.mjs"), str(pyodide), str(script)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_CPU, (seconds, seconds + 1)),
        ) as node:
            assert node.stdout is not None
            for line in node.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
        if node.returncode < 0:
            raise RunError(f"not at its end after {seconds} s of processor time")
        if node.returncode:
            errors.seek(0)
            raise RunError(errors.read()[-3000:])


def run(pyodide: Path, path: Path, seconds: int, cells: int | None) -> bool:
    """Run a notebook and print its slow cells and its problems; return whether all is well."""
    total, good = 0.0, True
    print(path.stem, flush=True)
    try:
        for found in cells_of(pyodide, path, seconds, cells):
            total += found["seconds"]
            good &= not found["problem"]
            if found["seconds"] >= SHOWN or found["problem"]:
                print(f"  {found['seconds']:6.1f} s  {found['what']}  {found['problem']}".rstrip(), flush=True)
    except RunError as error:
        print(f"  {error}")
        good = False
    print(f"  {total:6.1f} s of processor time in all", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the lessons' solutions in Pyodide under Node, cell by cell.")
    parser.add_argument("pyodide", type=Path, help="the folder of Pyodide that site/lite/build.py made")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers of lessons; all without")
    parser.add_argument("--cells", type=int, metavar="N", help="only the first N code cells")
    parser.add_argument("--seconds", type=int, default=180, help="of processor time, for each lesson [default: 180]")
    arguments = parser.parse_args()
    results = [
        run(arguments.pyodide, SOLUTIONS / f"{lesson.stem}.ipynb", arguments.seconds, arguments.cells)
        for lesson in LESSONS
        if not arguments.lessons or lesson.number in arguments.lessons
    ]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
