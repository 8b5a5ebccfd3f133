"""Runs one notebook cell by cell, in Pyodide under Node: `run_cells.py` puts its SETTINGS before this text.

It prints a line of JSON for loading Python and its packages, one for IPython and one for each code cell: what it was,
its processor seconds, and what went wrong ("" for nothing).
"""

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import pyodide_js  # this and js are Pyodide's own
from js import process

SETTINGS = globals()["SETTINGS"]
OURS = Path("/home/pyodide/lesson")


def spent() -> float:
    """Processor seconds of Node so far. (`time.process_time` is the time on the clock here.)"""
    used = process.cpuUsage()
    return (used.user + used.system) / 1e6


def report(what: str, seconds: float, problem: str = "") -> None:
    print(json.dumps({"what": what, "seconds": seconds, "problem": problem}), flush=True)


def first_line(source: str) -> str:
    """The first line that says something about a cell."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith(("#", "import", "from"))]
    return (lines or [""])[0][:60]


await pyodide_js.loadPackage(["ipython", "sqlite3"])  # noqa: F704
report("Python, and its packages", spent())

started = spent()
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

shell = InteractiveShell.instance()
shell.history_manager.enabled = False
report("IPython", spent() - started)

pyodide_js.mountNodeFS("/lessons", SETTINGS["folder"])
shutil.copytree("/lessons", OURS)  # lesson 18 reads the others' notebooks
os.chdir(OURS)
cells = json.loads(Path(SETTINGS["name"]).read_text(encoding="utf-8"))["cells"]
code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
for index, source in enumerate(code[: SETTINGS["cells"]]):
    started, said = spent(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        result = await shell.run_cell_async(source)  # noqa: F704
    taken = spent() - started
    error = result.error_before_exec or result.error_in_exec
    wrong = [line for line in said.getvalue().splitlines() if line.startswith("\N{HEAVY BALLOT X} ")]
    report(f"cell {index}: {first_line(source)}", taken, repr(error)[:500] if error else " ".join(wrong)[:500])
