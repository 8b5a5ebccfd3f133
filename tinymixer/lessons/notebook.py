"""Reads notebooks by Jupyter's grammar, and finds the statements that an answer needs.

A cell is Python with lines of IPython's own: %magic, !command, name?. Only the statements that an exercise's functions
need are run: their definitions, and whatever defines the names in them, anywhere in the notebook. So the experiments
of a lesson are not run, and an answer means the same here as in the notebook.
"""

import __future__

import ast
import builtins
import dis
import json
import re
import stat
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinymixer.errors import DataError
from tinymixer.lessons.exercise import Exercise

LARGEST_NOTEBOOK = 200_000_000  # bytes
RUN_THEIR_BODY = ("time", "capture", "prun", "debug")  # magics that run their code as if they were not there
WRITE_A_FILE = ("writefile", "file")
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what ast.parse and compile raise
GIVEN = {"get_ipython", "display", "In", "Out", "__name__", "__file__", "__doc__"}  # what every notebook has
EVERYTHING = "*"
FUTURE_FLAGS = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell.

    binds  the names that it defines or changes; EVERYTHING where the names cannot be known
    needs  the names that it reads, also later inside its functions
    """

    cell: int  # from 1
    line: int
    code: types.CodeType
    binds: frozenset[str]
    needs: frozenset[str]

    @property
    def place(self) -> str:
        return f"code cell {self.cell}, line {self.line}"


@dataclass(frozen=True)
class Notebook:
    """What the code cells of a notebook say.

    statements  in order
    checks      exercise -> index in `statements` of the (last) statement that checks it
    troubles    a sentence per cell that is not Python
    texts       file name, as tracebacks have it -> the cell as Python
    files       name -> text: what %%writefile would write
    """

    statements: list[Statement] = field(default_factory=list)
    checks: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def needed_for(self, names: Iterable[str]) -> list[int]:
        """Indices into `statements` of the statements that these names need, in order."""
        wanted, chosen = set(names) | {EVERYTHING}, set[int]()
        while True:
            found = [index for index, one in enumerate(self.statements) if index not in chosen and one.binds & wanted]
            if not found:
                return sorted(chosen)
            chosen.update(found)
            wanted.update(*(self.statements[index].needs for index in found))


def read_notebook(path: Path) -> Notebook:
    """The statements of a notebook (or of a jupytext source). Raises DataError when it cannot be read."""
    sources, troubles = code_cells(path)
    return parsed(sources, path.name, troubles)


def code_cells(path: Path) -> tuple[list[str], list[str]]:
    """The code of a notebook, a text per cell (of a Python file, the whole), and a sentence per damaged cell.

    Raises DataError when it is not a notebook.
    """
    content = read_content(path)
    if path.suffix == ".py":
        try:
            return [content.decode("utf-8-sig")], []
        except UnicodeDecodeError as error:
            raise DataError(f"{path.name} cannot be read: it is not UTF-8 ({error.reason}).") from error
    try:
        cells = json.loads(content)["cells"]  # json finds UTF-8, 16 and 32, and steps over a byte-order mark
        cells = [cell for cell in cells if not isinstance(cell, dict) or cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        where = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(
            f"{path.name} is not a Jupyter notebook: expected JSON with cells{where}. Is it damaged? Rename it, and "
            "'tinymixer lessons' puts a fresh one in its place."
        ) from error
    sources, troubles = [], []
    for index, cell in enumerate(cells):
        source = cell.get("source") if isinstance(cell, dict) else None
        try:
            sources.append(source if isinstance(source, str) else "".join(source))  # type: ignore[arg-type]
        except TypeError:
            sources.append("")
            troubles.append(f"Code cell {index + 1} is damaged.")
    return sources, troubles


def read_content(path: Path) -> bytes:
    """The bytes of a notebook. Raises DataError for one that cannot be read, is empty or far too large."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path.name} is not a file that can be read. Move it away.")
        if status.st_size > LARGEST_NOTEBOOK:
            size = f"{status.st_size / 1e6:,.0f} MB"
            raise DataError(f"{path.name} is too large to be read ({size}): clear its outputs and save it again.")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if not content.strip():
        raise DataError(f"{path.name} is empty. Rename it, and 'tinymixer lessons' puts a fresh notebook in its place.")
    return content


def parsed(sources: list[str], name: str, troubles: Iterable[str] = ()) -> Notebook:
    """The statements of these cells."""
    notebook = Notebook(troubles=list(troubles))
    variables = set[str]()  # not modules, functions or classes
    flags = 0  # `from __future__ import ...` holds for the cells after it too
    for index, source in enumerate(sources):
        cell, file = index + 1, f"<{name}, code cell {index + 1}>"
        try:
            text, tree = _python(source, notebook.files)
        except UNPARSABLE as error:
            notebook.troubles.append(_not_python(cell, error))
            continue
        notebook.texts[file] = text
        for statement in tree.body:
            try:
                code = compile(ast.Module([statement], []), file, "exec", flags, dont_inherit=True)
            except UNPARSABLE as error:
                notebook.troubles.append(_not_python(cell, error))
                continue
            flags |= code.co_flags & FUTURE_FLAGS
            binds = set(_binds(statement, code))
            if not isinstance(statement, NO_VARIABLE):
                variables |= binds
            if not binds and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                binds = variables & set(_root(statement.value))  # TABLE.append(3) changes TABLE
            notebook.checks.update(dict.fromkeys(_checks(statement), len(notebook.statements)))
            notebook.statements.append(
                Statement(cell, statement.lineno, code, frozenset(binds), frozenset(_needs(code)))
            )
    return notebook


NO_VARIABLE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _not_python(cell: int, error: BaseException) -> str:
    where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
    return f"Code cell {cell} is not Python yet ({where})."


# --- Jupyter's grammar ---


def _python(source: str, files: dict[str, str]) -> tuple[str, ast.Module]:
    """A cell as Python and its syntax tree. What %%writefile would write is added to `files`. Raises UNPARSABLE."""
    if magic := re.match(r"\s*%%(\w+)[ \t]*([^\n]*)\n?", source):
        kind, argument = magic.groups()
        rest = source[magic.end() :]
        if kind in WRITE_A_FILE:
            words = argument.split()
            name = words[-1].strip("'\"") if words else ""
            files[name] = (files.get(name, "") if words[:1] in (["-a"], ["--append"]) else "") + rest
        if kind not in RUN_THEIR_BODY:
            return "", ast.Module([], [])
        return _python("\n" * source[: magic.end()].count("\n") + rest, files)
    try:
        text, tree = source, ast.parse(source)  # Python is left as it is, also lines that begin with %
    except UNPARSABLE:
        text = _transformed(source)
        tree = ast.parse(text)
    tree.body = [part for statement in tree.body for part in _unwrapped(statement, files)]
    return text, tree


def _transformed(source: str) -> str:
    """A cell that is not Python, transformed into Python as IPython does it. Raises UNPARSABLE if that fails."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError:  # on a machine that only grades, IPython may be missing
        return _transformed_by_lines(source)
    try:
        return TransformerManager().transform_cell(source)
    except Exception as error:  # IPython's parser may raise anything for text that is not Python
        raise SyntaxError(str(error)) from error


def _transformed_by_lines(source: str) -> str:
    """Reads the lines that Python rejects as IPython's own: %magic, !command, name?, files = !ls."""
    lines, changed = source.split("\n"), set[int]()
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            index = (error.lineno or 0) - 1
            if index in changed or not 0 <= index < len(lines):
                raise
            changed.add(index)
            lines[index] = _command(lines[index])
        else:
            return "\n".join(lines)


def _command(line: str) -> str:
    """A line of IPython's own as a call, as IPython writes it; any other line as it is."""
    parts = re.fullmatch(r"(\s*)([\w.,\s\[\]'\"]+=\s*)?([%!?]{1,2})\s*(.*)", line)
    if parts:
        indent, target, mark, rest = parts.groups()
        word, _, argument = rest.partition(" ")
        call = {
            "%": f"run_line_magic({word!r}, {argument!r})",
            "!": f"getoutput({rest!r})",
            "?": f"run_line_magic('pinfo', {rest!r})",
        }
        return f"{indent}{target or ''}get_ipython().{call[mark[0]]}"
    if asked := re.fullmatch(r"(\s*)([\w.*]+)\?{1,2}\s*", line):
        return f"{asked[1]}get_ipython().run_line_magic('pinfo', {asked[2]!r})"
    return line


def _unwrapped(statement: ast.stmt, files: dict[str, str]) -> list[ast.stmt]:
    """`%time X = f()` (or %%time over a cell) as the statements inside it; any other statement as it is."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(attr="run_line_magic"), [ast.Constant(kind), ast.Constant(code), *_])):
            pass
        case ast.Expr(ast.Call(ast.Attribute(attr="run_cell_magic"), [ast.Constant(kind), _, ast.Constant(code)])):
            pass
        case _:
            return [statement]
    if kind not in RUN_THEIR_BODY or not isinstance(code, str):
        return [statement]
    try:
        inside = _python(code, files)[1].body
    except UNPARSABLE:
        return [statement]
    for node in (node for part in inside for node in ast.walk(part) if hasattr(node, "lineno")):
        ast.copy_location(node, statement)
    return inside


# --- What a statement defines and what it needs ---


def _binds(statement: ast.stmt, code: types.CodeType) -> Iterator[str]:
    """The names that a statement defines, and those whose elements or attributes it sets."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            yield instruction.argval
    for inner in _codes(code):
        for instruction in dis.get_instructions(inner):
            if instruction.opname == "STORE_GLOBAL":
                yield instruction.argval
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield EVERYTHING
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from _root(node)
    if isinstance(statement, ast.Expr) and ast.unparse(statement).startswith(("sys.path.", "site.addsitedir")):
        yield EVERYTHING  # what is imported later may be there


def _needs(code: types.CodeType) -> Iterator[str]:
    """The global names that a statement reads, also inside its functions and classes."""
    for inner in (code, *_codes(code)):
        for instruction in dis.get_instructions(inner):
            if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
                yield instruction.argval


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def _checks(statement: ast.stmt) -> Iterator[str]:
    """The exercises that a statement checks: the 2.3 of check("2.3", ...)."""
    for node in ast.walk(statement):
        match node:
            case ast.Call(ast.Name("check") | ast.Attribute(attr="check"), [ast.Constant(number), *_]):
                yield str(number)


def _root(node: ast.AST) -> Iterator[str]:
    """The x of x.y[z]."""
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id


# --- What check says at once ---


def notebook_remarks(exercise: Exercise, answers: tuple[Any, ...], names: dict[str, Any]) -> list[str]:
    """Sentences about definitions that `check` used and `tinymixer lessons status` will not find in the notebook.

    names: the global names where `check` was called. Outside a notebook the list is empty.
    """
    if "get_ipython" not in names or not isinstance(cells := names.get("In"), list):
        return []
    remarks = [
        f"'tinymixer lessons status' looks for a function named {name}, and this one has another name. Rename it."
        for name, answer in zip(exercise.functions, answers, strict=False)
        if callable(answer) and names.get(name) is not answer
    ]
    notebook = parsed([cell for cell in cells if isinstance(cell, str)], "notebook")
    last = {name: one for one in notebook.statements for name in one.binds}  # the last definition counts
    wanted, seen = [name for name in exercise.functions if name in last], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        if name == "get_ipython":
            remarks.append(
                "The answer uses a command of the notebook (% or !), which 'tinymixer lessons status' does not run: "
                "take it out of the function, or write the value itself."
            )
        elif name in last:
            wanted += last[name].needs
        elif name in names and name not in GIVEN and not hasattr(builtins, name) and EVERYTHING not in last:
            remarks.append(
                f"No cell defines {name} so that 'tinymixer lessons status' can read it: write {name} = ... in a cell."
            )
    return remarks
