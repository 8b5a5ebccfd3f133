"""Reading the answers out of a notebook, without running its experiments.

Of the code cells only what defines something is run: imports, functions, classes, and constants in CAPITALS. So the
board of a whole course takes a second, and an answer must stand on its own: it may use what is imported, constants,
and the other functions of its notebook, but no variable that some cell left behind.
"""

import ast
import contextlib
import io
import json
import linecache
from pathlib import Path
from typing import Any

from tinymixer.errors import DataError
from tinymixer.lessons.exercise import Exercise, find_exercise
from tinymixer.lessons.grading import WRONG, Verdict, examine

DEFINITIONS = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def grade_notebook(path: Path, numbers: list[str]) -> dict[str, Verdict]:
    """The verdict on each of these exercises as they are answered in a notebook (or in a jupytext source).

    Raises DataError when the file cannot be read as a notebook.
    """
    names, troubles = definitions(path)
    return {number: _grade(find_exercise(number), names, troubles) for number in numbers}


def definitions(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What the code cells of a notebook define, by name, and a sentence for each cell that could not be run."""
    names: dict[str, Any] = {"__name__": path.stem}
    troubles = []
    for index, source in enumerate(code_cells(path)):
        file = f"<{path.name}, code cell {index + 1}>"
        source = "\n".join(_without_magic(line) for line in source.splitlines())
        try:
            tree = ast.parse(source, file)
        except SyntaxError as error:
            troubles.append(f"Code cell {index + 1} is not Python yet (line {error.lineno}: {error.msg}).")
            continue
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        for statement in tree.body:
            if not _defines(statement):
                continue
            code = compile(ast.Module([statement], []), file, "exec")
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(code, names)
            except Exception as error:
                troubles.append(f"Code cell {index + 1}, line {statement.lineno}: {type(error).__name__}: {error}.")
    return names, troubles


def code_cells(path: Path) -> list[str]:
    """The code of a notebook, a text per cell; of a Python file, the whole."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".py":
        return [text]
    try:
        cells = json.loads(text)["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no Jupyter notebook: expected JSON with cells. Is it damaged?") from error
    return ["".join(source) if isinstance(source, list) else source for source in sources]


def _without_magic(line: str) -> str:
    """The line, or `pass` in place of IPython's own commands (%pip, !ls)."""
    code = line.lstrip()
    return line.replace(code, "pass") if code.startswith(("%", "!")) else line


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, DEFINITIONS):
        return True
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return bool(targets) and all(isinstance(target, ast.Name) and target.id.isupper() for target in targets)


def _grade(exercise: Exercise, names: dict[str, Any], troubles: list[str]) -> Verdict:
    missing = [name for name in exercise.functions if name not in names]
    if missing:
        said = " ".join(troubles) or "Its cell may have been deleted: take a fresh notebook beside yours."
        return Verdict(
            exercise.number, exercise.title, WRONG, f"the notebook does not define {' and '.join(missing)}. {said}", {}
        )
    return examine(exercise.number, *(names[name] for name in exercise.functions))
