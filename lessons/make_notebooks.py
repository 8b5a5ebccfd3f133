"""Make the notebooks of the course from lessons/source/, or check that they are up to date and run.

    python lessons/make_notebooks.py                 all lessons
    python lessons/make_notebooks.py 02 05 01b       some
    python lessons/make_notebooks.py --check         change nothing; fail where something is not as it should be

Of each source (jupytext's percent format) two notebooks are made:

    lessons/NN_name.ipynb              to be filled in: what stands between the lines `### BEGIN SOLUTION` and
                                       `### END SOLUTION` is replaced by `raise NotYet`, cells tagged "solution" are
                                       left out, there are no outputs
    lessons/solutions/NN_name.ipynb    complete, executed, with figures

The map of the course (README.md) and the cheat sheet become notebooks too, since JupyterLab shows those as pages.

The markers are nbgrader's, so that a teacher's tools know them.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tinymixer.errors import REFERENCE, REPOSITORY, browser_address, install_line
from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.merging import KEY, record

LESSONS_FOLDER = Path(__file__).resolve().parent
COLAB = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github")
NAMED_PATH = re.compile(
    r"(?<!\[)`(?![^`]*NN_)((?:tinymixer|tests|docs|lessons)/[\w./]*\w)/?`"
)
LARGEST_SOLUTION = 500_000  # bytes
LONGEST_LESSON = 60.0  # seconds on two cores
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PAGES = {
    "README": "map",
    "cheatsheet": "cheatsheet",
    "PROJECTS": "projects",
}  # text -> the notebook that shows it
PROGRESS = """
# Your progress: run this cell to see what is done.
from tinymixer.lessons import show_progress

show_progress()
"""
COLAB_SETUP = f"""\
import sys

if "google.colab" in sys.modules:  # elsewhere this does nothing
    %{install_line("notebook").replace("install", "install --quiet", 1)}
"""
NOT_YET_SETUP = """
from tinymixer.lessons import NotYet  # what an exercise raises until you have written it
"""


class LessonError(Exception):
    """A lesson that is not as it should be; the message says what is wrong."""


def notebooks_of(stem: str) -> tuple[NotebookNode, NotebookNode]:
    """The exercise notebook and the solution notebook of a lesson, both without outputs."""
    source = jupytext.read(LESSONS_FOLDER / "source" / f"{stem}.py", fmt="py:percent")
    exercise, solution = _header(stem, exercise=True), _header(stem, exercise=False)
    for index, cell in enumerate(source.cells):
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source)
        place, identity = f"{stem}, cell {index}", f"{stem}-{index:03d}"
        new_cell = new_markdown_cell if cell.cell_type == "markdown" else new_code_cell
        solution.append(new_cell(without_markers(cell.source).strip("\n"), id=identity))
        if "solution" not in cell.metadata.get("tags", []):
            exercise.append(
                new_cell(without_solution(cell.source, place).strip("\n"), id=identity)
            )
    return recorded(exercise), recorded(solution, exercise)


def page(name: str) -> NotebookNode:
    """The notebook that shows one of the texts; the map has the learner's progress below it."""
    text = (LESSONS_FOLDER / f"{name}.md").read_text(encoding="utf-8")
    for text_name, notebook_name in PAGES.items():
        text = text.replace(f"]({text_name}.md)", f"]({notebook_name}.ipynb)")
    text = with_links(text.replace(f"{COLAB}/blob/main/", f"{COLAB}/blob/{REFERENCE}/"))
    cells = [new_markdown_cell(text.strip(), id=f"{name}-text")]
    if name == "README":
        cells.append(new_code_cell(COLAB_SETUP.strip(), id=f"{name}-setup"))
        cells.append(new_code_cell(PROGRESS.strip(), id=f"{name}-progress"))
    return recorded(cells)


def with_links(text: str) -> str:
    """Point a text's links into the repository, and its paths in backticks, to the repository on the web.

    A notebook is read in a clone, in a learner's folder and in Colab, and only a whole address leads from all three to
    the file. Its version is `REFERENCE`. Raises LessonError for a path that does not exist.
    """
    text = re.sub(r"\]\(\.\./([^)]+)\)", lambda found: f"]({address(found[1])})", text)
    return NAMED_PATH.sub(lambda found: f"[{found[0]}]({address(found[1])})", text)


def address(path: str) -> str:
    """The web address of one of the repository's files or folders."""
    place = LESSONS_FOLDER.parent / path
    if not place.exists():
        raise LessonError(f"the text names {path}, which does not exist")
    return f"{REPOSITORY}/{'tree' if place.is_dir() else 'blob'}/{REFERENCE}/{path}"


def _header(stem: str, exercise: bool) -> list[NotebookNode]:
    path = f"{stem}.ipynb" if exercise else f"solutions/{stem}.ipynb"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    colab = f"[![Open in Colab]({badge})]({COLAB}/blob/{REFERENCE}/lessons/{path})"
    browser = f"[Open in your browser]({browser_address(path)})"
    other = (
        f"[Solutions](solutions/{stem}.ipynb)"
        if exercise
        else f"[Exercises](../{stem}.ipynb)"
    )
    overview = (
        f"[Map of the course]({PAGES['README']}.ipynb)"
        if exercise
        else f"[Map of the course](../{PAGES['README']}.ipynb)"
    )
    return [
        new_markdown_cell(
            f"{colab} · {browser} · {overview} · {other}", id=f"{stem}-links"
        ),
        new_code_cell((COLAB_SETUP + NOT_YET_SETUP * exercise).strip(), id=f"{stem}-setup"),
    ]


def without_markers(source: str) -> str:
    return "\n".join(
        line for line in source.splitlines() if line.strip() not in (BEGIN, END)
    )


def without_solution(source: str, place: str) -> str:
    """The cell with `raise NotYet` in place of each solution. Raises LessonError for markers that do not pair up."""
    lines, indent = [], None
    for line in source.splitlines():
        if line.strip() == BEGIN:
            if indent is not None:
                raise LessonError(f"{place}: {BEGIN} twice without {END} between")
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}raise NotYet")
        elif line.strip() == END:
            if indent is None:
                raise LessonError(f"{place}: {END} without {BEGIN}")
            indent = None
        elif indent is None:
            lines.append(line)
    if indent is not None:
        raise LessonError(f"{place}: {BEGIN} without {END}")
    return "\n".join(lines)


def execute(notebook: NotebookNode, name: str) -> float:
    """Run a notebook in place, in a folder of its own; return the seconds. Raises LessonError when a cell fails."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if any("my_functions(" in cell.source for cell in notebook.cells):
            _lay_the_others_beside_it(Path(folder), name)
        client = NotebookClient(
            notebook,
            timeout=180,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        try:
            # stderr: the kernel's own log (what cells write there is an output). A bar is for who waits, not for print.
            client.execute(
                stderr=subprocess.DEVNULL, env={**os.environ, "TQDM_DISABLE": "1"}
            )
        except CellExecutionError as error:
            raise LessonError(f"{name}: a cell fails.\n{error}") from error
    for cell in notebook.cells:
        if cell.cell_type == "code":
            _tidy(cell, name)
    return time.perf_counter() - started


def _lay_the_others_beside_it(folder: Path, name: str) -> None:
    """Write the other lessons' notebooks, solutions beside a solution: lesson 18 looks for functions in them.

    They are made from the sources, since the files themselves may be in the making.
    """
    stem = name.removeprefix("solutions/")
    for lesson in LESSONS:
        if lesson.stem != stem:
            exercise, solution = notebooks_of(lesson.stem)
            other = exercise if name == stem else solution
            (folder / f"{lesson.stem}.ipynb").write_text(written(other), encoding="utf-8")


def _tidy(cell: NotebookNode, name: str) -> None:
    """Take out of an executed cell what differs from run to run without meaning."""
    cell.metadata = NotebookNode()
    cell.outputs = _with_joined_streams(cell.outputs)
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            raise LessonError(f"{name}: a cell wrote to standard error:\n{output.text}")
        if "text/plain" in output.get("data", {}):
            output.data["text/plain"] = re.sub(
                r" at 0x[0-9a-f]+", "", output.data["text/plain"]
            )


def _with_joined_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What was printed in one go may have arrived in pieces; make it one again."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def recorded(
    cells: list[NotebookNode], lesson: list[NotebookNode] | None = None
) -> NotebookNode:
    """A notebook that records what its cells say, so that an older copy of it can be told and merged."""
    return new_notebook(cells=cells, metadata=METADATA | {KEY: record(cells, lesson)})


def written(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=4) + "\n"


def make(stem: str) -> str:
    """Write both notebooks of a lesson; return a line that says so."""
    exercise, solution = notebooks_of(stem)
    seconds = execute(solution, f"solutions/{stem}")
    size = len(written(solution).encode())
    if size > LARGEST_SOLUTION:
        raise LessonError(
            f"solutions/{stem}.ipynb has {size:,} bytes, more than {LARGEST_SOLUTION:,}: smaller figures"
        )
    (LESSONS_FOLDER / "solutions").mkdir(exist_ok=True)
    (LESSONS_FOLDER / f"{stem}.ipynb").write_text(written(exercise), encoding="utf-8")
    (LESSONS_FOLDER / "solutions" / f"{stem}.ipynb").write_text(
        written(solution), encoding="utf-8"
    )
    return f"{stem}: {seconds:.0f} s, {size / 1000:.0f} kB{_too_slow(seconds)}"


def check(stem: str) -> str:
    """Hold both notebooks of a lesson to its source and run them. Raises LessonError when something is wrong."""
    exercise, solution = notebooks_of(stem)
    advice = "run 'make lessons' and commit what it changes"
    if _read(LESSONS_FOLDER / f"{stem}.ipynb") != written(exercise):
        raise LessonError(f"{stem}.ipynb is not what source/{stem}.py makes: {advice}")
    committed = nbformat.reads(
        _read(LESSONS_FOLDER / "solutions" / f"{stem}.ipynb"), as_version=4
    )
    if committed.metadata.get(KEY) != solution.metadata[KEY] or [
        cell.source for cell in committed.cells
    ] != [cell.source for cell in solution.cells]:
        raise LessonError(
            f"solutions/{stem}.ipynb is not what source/{stem}.py makes: {advice}"
        )
    if not all(
        cell.get("execution_count") for cell in committed.cells if cell.cell_type == "code"
    ):
        raise LessonError(f"solutions/{stem}.ipynb was not executed: {advice}")
    seconds = execute(solution, f"solutions/{stem}")
    unfilled = execute(exercise, stem)
    return (
        f"{stem}: solutions {seconds:.0f} s, exercises {unfilled:.0f} s{_too_slow(seconds)}"
    )


def _read(path: Path) -> str:
    if not path.is_file():
        raise LessonError(f"{path.name} is missing: run 'make lessons' and commit it")
    return path.read_text(encoding="utf-8")


def _too_slow(seconds: float) -> str:
    return f" (longer than {LONGEST_LESSON:.0f} s)" if seconds > LONGEST_LESSON else ""


def _attempt(work: str, stem: str) -> tuple[bool, str]:
    try:
        return True, (make if work == "make" else check)(stem)
    except LessonError as error:
        return False, str(error)


@click.command()
@click.argument("lessons", nargs=-1, metavar="[NN]...")
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Change nothing; fail where something is not as it should be.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Lessons run side by side.",
)
def main(lessons: tuple[str, ...], only_check: bool, jobs: int) -> None:
    """Make the notebooks of the course, or check them."""
    stems = [lesson.stem for lesson in LESSONS if not lessons or lesson.number in lessons]
    if not stems:
        raise click.UsageError(
            f"expected numbers of lessons such as 02, got {' '.join(lessons)}"
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // jobs)))
    started, failures = time.perf_counter(), 0
    for name, shown_by in PAGES.items():
        path = LESSONS_FOLDER / f"{shown_by}.ipynb"
        if not only_check:
            path.write_text(written(page(name)), encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != written(page(name)):
            click.echo(
                f"error: {path.name} is not what {name}.md makes: run 'make lessons' and commit it",
                err=True,
            )
            failures += 1
    pages_wrong = failures
    with ProcessPoolExecutor(jobs) as pool:
        for good, line in pool.map(
            _attempt, ["check" if only_check else "make"] * len(stems), stems
        ):
            click.echo(line if good else f"error: {line}", err=not good)
            failures += not good
    click.echo(
        f"{len(stems) - failures + pages_wrong} of {len(stems)} lessons in {time.perf_counter() - started:.0f} s"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
