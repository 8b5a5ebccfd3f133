"""Merges a learner's copy of a lesson with the lesson of this version, and keeps the learner's work.

A lesson's notebook records what its cells said when it was made (`tinymixer.cells` in its metadata: cell id -> digest).
So a cell of a copy is the lesson's own, changed by the learner, or added by the learner. Copies from before that have
no record: there a cell with the lesson's id that says something else may have been changed by either side.
"""

import ast
import copy
import difflib
import hashlib
import io
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinymixer.lessons.exercise import Exercise
from tinymixer.text import counted

Cell = dict[str, Any]
KEY = "tinymixer"  # of the notebook's metadata
ALIKE = 0.5  # share of equal text from which on two cells with the same id count as versions of one cell
MUCH = 5_000  # characters of a cell that are compared
CHECK = re.compile(r"""\bcheck\(\s*["'](\d+[a-z]?\.\d+)["']\s*,\s*([\w\s,]*?)\s*\)""")
LEFT_OVER = (
    "## From your earlier copy\n\n"
    "What follows stood in your earlier copy of this lesson and has no place in this version. It is shown as text, so "
    "that it runs nothing; copy what you still want into a cell. The whole earlier copy is kept beside this notebook."
)


@dataclass
class Merge:
    """A merged notebook and what was done, in sentences.

    answers    exercises whose answers were kept
    own        how many of the learner's own cells were kept
    edited     how many of the lesson's cells were kept as the learner changed them
    renewed    how many cells of the lesson are new or changed
    left_over  how many cells stand at the end
    remarks    what the learner should look at
    """

    notebook: dict[str, Any]
    answers: list[str] = field(default_factory=list)
    own: int = 0
    edited: int = 0
    renewed: int = 0
    left_over: int = 0
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{counted(self.renewed, 'cell')} of the lesson new or changed"]
        parts += [f"your answers to {', '.join(self.answers)} kept"] * bool(self.answers)
        parts += [f"{counted(self.own, 'cell')} of your own kept"] * bool(self.own)
        parts += [f"{counted(self.edited, 'cell')} kept as you changed {'it' if self.edited == 1 else 'them'}"] * bool(
            self.edited
        )
        parts += [f"{counted(self.left_over, 'cell')} without a place put at the end"] * bool(self.left_over)
        return ", ".join(parts) + "".join(f". {remark}" for remark in self.remarks) + "."


def source_of(cell: Cell) -> str:
    """A cell's text. Raises TypeError for a damaged cell."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def record(cells: Sequence[Cell], lesson: Sequence[Cell] | None = None) -> dict[str, Any]:
    """For the metadata of a notebook: cell id -> digest of what the cell says, and which edition of the lesson it is.

    lesson: the cells of the exercise notebook, which make the edition of a solution too
    """
    digests = [digest(cell) for cell in (cells if lesson is None else lesson)]
    edition = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:12]
    return {"edition": edition, "cells": {cell["id"]: digest(cell) for cell in cells}}


def digest(cell: Cell) -> str:
    text = f"{cell.get('cell_type')}\n{source_of(cell).strip()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def recorded(notebook: dict[str, Any]) -> dict[str, str] | None:
    """What a notebook records of its cells; None for one from before that, or where a program dropped it."""
    cells = _own(notebook).get("cells")
    return cells if isinstance(cells, dict) else None


def _own(notebook: dict[str, Any]) -> dict[str, Any]:
    own = notebook.get("metadata", {}).get(KEY)
    return own if isinstance(own, dict) else {}


def from_this_version(notebook: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a copy was made from the lesson of this version, however it was changed afterwards."""
    if recorded(notebook) is not None:
        return bool(_own(notebook).get("edition") == _own(new).get("edition"))
    said = {digest(cell) for cell in notebook["cells"]}
    return all(digest(cell) in said for cell in new["cells"] if "raise NotYet" not in source_of(cell))


def merged(old: dict[str, Any], new: dict[str, Any], exercises: list[Exercise]) -> Merge:
    """The new lesson with the learner's answers, changes and cells. Neither notebook is changed."""
    return _Merging(copy.deepcopy(old), copy.deepcopy(new), exercises).merge()


class _Merging:
    def __init__(self, old: dict[str, Any], new: dict[str, Any], exercises: list[Exercise]) -> None:
        self.old, self.new = old, new
        self.old_cells: list[Cell] = old["cells"]
        self.new_cells: list[Cell] = new["cells"]
        self.record = recorded(old)
        self.stem = str(self.new_cells[0]["id"]).rpartition("-")[0]
        self.names = {_id(cell): index for index, cell in enumerate(self.new_cells)}
        self.renamed = self._renamed(exercises)
        self.place: dict[int, int] = {}  # old cell -> the new cell that takes its place
        self.result: list[Cell] = list(self.new_cells)
        self.after: dict[int, list[Cell]] = {}
        self.left_over: list[Cell] = []
        self.answered: set[int] = set()
        self.done = Merge({})
        self.exercises = exercises

    def merge(self) -> Merge:
        self._same_cells()
        for exercise in self.exercises:
            self._answer(exercise)
        self._versions_of_a_cell()
        self._own_cells()
        known = {digest(cell) for cell in self.old_cells} | set((self.record or {}).values())
        maybe = set() if self.record else self.answered  # whether the lesson's part of these is new is not known
        self.done.renewed = sum(
            digest(cell) not in known and index not in maybe for index, cell in enumerate(self.new_cells)
        )
        cells = [cell for index, cell in enumerate(self.result) for cell in (cell, *self.after.get(index, []))]
        if self.left_over:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": LEFT_OVER})
            cells += self.left_over
            self.done.left_over = len(self.left_over)
        self._give_ids(cells)
        metadata = self.old.get("metadata", {}) | {KEY: self.new["metadata"].get(KEY, {})}
        self.done.notebook = self.new | {"cells": cells, "metadata": metadata}
        return self.done

    # --- What a cell of the copy is ---

    def _given(self, cell: Cell) -> bool:
        """Whether the cell was in the lesson from which the copy was made."""
        if self.record is not None:  # some programs give cells new ids
            return _id(cell) in self.record or digest(cell) in self.record.values()
        return _id(cell).startswith(f"{self.stem}-")

    def _changed_by_learner(self, cell: Cell) -> bool | None:
        """None: not known."""
        if self.record is None:
            return False if _id(cell) in (f"{self.stem}-links", f"{self.stem}-setup") else None
        said = self.record.get(_id(cell))
        return digest(cell) not in ([said] if said else self.record.values())

    # --- The steps ---

    def _same_cells(self) -> None:
        """Pair the cells that say the same, in order; they keep their outputs."""
        before, after = [digest(cell) for cell in self.old_cells], [digest(cell) for cell in self.new_cells]
        for one, other, size in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
            for step in range(size):
                self._put(one + step, other + step, self.old_cells[one + step])

    def _put(self, one: int, other: int, cell: Cell) -> None:
        self.place[one] = other
        self.result[other] = cell | {"id": self.new_cells[other]["id"]}

    def _renamed(self, exercises: list[Exercise]) -> dict[str, str]:
        """Functions that have another name in this version, found by the number of the exercise that they answer."""
        found = {}
        for exercise in exercises:
            for cell in self.old_cells:
                for names in [names for number, names in _checks(source_of(cell)) if number == exercise.number]:
                    if len(names) == len(exercise.functions):
                        found.update(
                            {old: new for old, new in zip(names, exercise.functions, strict=True) if old != new}
                        )
        defined = {name for cell in self.old_cells for name in _definitions(cell)}
        return {old: new for old, new in found.items() if old in defined and new not in defined}

    def _answer(self, exercise: Exercise) -> None:
        """Put the learner's answer to an exercise into its cell."""
        there = [
            index for index, cell in enumerate(self.new_cells) if set(exercise.functions) <= _definitions(cell).keys()
        ]
        here = self._home(exercise)
        if not there or here is None or here in self.place:
            return
        old, new, place = self.old_cells[here], self.new_cells[there[0]], there[0]
        changed = self._changed_by_learner(old)
        given = changed is False and "NotYet" in source_of(old)  # a solution has answers that nobody changed
        if given or (changed is None and self._unfilled(old, exercise)):
            self.place[here] = place
            return
        text = self._with_new_names(source_of(old))
        moved = not set(exercise.functions) & _defined(text).keys()  # into a cell of the learner's own
        if moved or _asks_for(text) == _asks_for(source_of(new)):
            answered = text
        else:
            answered = _grafted(text, source_of(new), exercise.functions)
        self._put(here, place, old | {"source": answered})
        self.answered.add(place)
        self.done.answers.append(exercise.number)
        for name, was in ((name, was) for was, name in self.renamed.items() if name in exercise.functions):
            self.done.remarks.append(f"{exercise.number}: {was} is called {name} now, and so is yours")
        for name in exercise.functions:
            before, now = _parameters(answered, name), _parameters(source_of(new), name)
            if before is not None and now is not None and before != now:
                self.done.remarks.append(
                    f"{exercise.number}: {name} takes ({', '.join(now)}) now, and yours takes ({', '.join(before)})"
                )

    def _home(self, exercise: Exercise) -> int | None:
        """The cell of the copy that answers an exercise: the lesson's own, where it defines the function."""
        back = {new: old for old, new in self.renamed.items()}
        names = {back.get(name, name) for name in exercise.functions}
        found = [index for index, cell in enumerate(self.old_cells) if names & _definitions(cell).keys()]
        checking = [
            index
            for index, cell in enumerate(self.old_cells)
            if self._given(cell) and any(number == exercise.number for number, _ in _checks(source_of(cell)))
        ]
        given = [index for index in found if self._given(self.old_cells[index])]
        own = [index for index in found if index not in given]
        best = [index for index in given if index in checking] or given
        if best:
            return best[-1]
        if own and checking and self._changed_by_learner(self.old_cells[checking[-1]]) is not False:
            return checking[-1]  # the function was moved into a cell of the learner's own, which is kept as such
        return own[-1] if own else None

    def _unfilled(self, cell: Cell, exercise: Exercise) -> bool:
        definitions = _definitions(cell)
        back = {new: old for old, new in self.renamed.items()}
        nodes = [definitions.get(back.get(name, name)) for name in exercise.functions]
        return all(node is not None and _not_written(node) for node in nodes)

    def _versions_of_a_cell(self) -> None:
        """Cells of the lesson that the new version has otherwise: the learner's changes to them are kept."""
        taken = set(self.place.values())
        for index, cell in enumerate(self.old_cells):
            if index in self.place or not self._given(cell):
                continue
            other = self._other_version(cell, taken)
            changed = self._changed_by_learner(cell)
            if other is not None:
                taken.add(other)
                self.place[index] = other
            if changed is False or (changed is None and _nothing_written(cell)):
                continue  # the lesson's own text of another version
            if other is not None and changed and self._as_before(cell, other):
                self._put(index, other, cell | {"source": self._with_new_names(source_of(cell))})
                self.done.edited += 1
            elif cell.get("cell_type") == "code" or changed:
                self.left_over.append(_as_text(cell))

    def _as_before(self, cell: Cell, other: int) -> bool:
        """Whether the lesson's cell is what it was when the copy was made, so that only the learner changed it."""
        return digest(self.new_cells[other]) == (self.record or {}).get(_id(cell))

    def _other_version(self, cell: Cell, taken: set[int]) -> int | None:
        """The new cell that says the same in other words: with the same id and much of the text, or the heading."""
        text, heading = source_of(cell), _heading(cell)
        same = self.names.get(_id(cell))
        if same is not None and same not in taken and self.new_cells[same]["cell_type"] == cell.get("cell_type"):
            other_text = source_of(self.new_cells[same])[:MUCH]
            alike = difflib.SequenceMatcher(None, text[:MUCH], other_text, autojunk=False)
            if alike.quick_ratio() >= ALIKE and alike.ratio() >= ALIKE:
                return same
        for index, other in enumerate(self.new_cells):
            if heading and index not in taken and _heading(other) == heading:
                return index
        return None

    def _own_cells(self) -> None:
        """Put the learner's own cells after the cell that they followed."""
        anchor = min(1, len(self.new_cells) - 1)  # below the links and the setup
        for index, cell in enumerate(self.old_cells):
            if index in self.place:
                anchor = self.place[index]
            elif not self._given(cell) and source_of(cell).strip():
                if cell.get("cell_type") == "code":
                    cell = cell | {"source": self._with_new_names(source_of(cell))}
                self.after.setdefault(anchor, []).append(cell)
                self.done.own += 1

    def _with_new_names(self, text: str) -> str:
        """Code in which renamed functions have their new names; unchanged where it is not Python."""
        if not any(re.search(rf"\b{name}\b", text) for name in self.renamed):
            return text
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (tokenize.TokenError, SyntaxError):
            return text
        lines = text.splitlines(keepends=True)
        for token in reversed(tokens):
            if token.type == tokenize.NAME and token.string in self.renamed:
                row, (start, end) = token.start[0] - 1, (token.start[1], token.end[1])
                lines[row] = lines[row][:start] + self.renamed[token.string] + lines[row][end:]
        return "".join(lines)

    def _give_ids(self, cells: list[Cell]) -> None:
        """Every cell an id of its own, as notebooks since format 4.5 have; the lesson's own keep theirs."""
        taken = set(self.names)
        free = (f"{self.stem}-own-{number:03d}" for number in range(10**6))
        ours = {id(cell) for cell in self.result}
        for cell in cells:
            if id(cell) in ours:
                continue
            name = _id(cell)
            if not re.fullmatch(r"[\w-]{1,64}", name) or name in taken or name.startswith(f"{self.stem}-"):
                name = next(each for each in free if each not in taken)
            taken.add(name)
            cell["id"] = name


def _id(cell: Cell) -> str:
    """A cell's id; Colab keeps it in the cell's metadata."""
    metadata = cell.get("metadata")
    return str(cell.get("id") or (metadata.get("id", "") if isinstance(metadata, dict) else ""))


def _heading(cell: Cell) -> str:
    first = source_of(cell).strip().partition("\n")[0]
    return first if cell.get("cell_type") == "markdown" and first.startswith("#") else ""


def _checks(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """(number, names of the answers) of each call of check."""
    return [
        (number, tuple(name.strip() for name in names.split(",") if name.strip()))
        for number, names in CHECK.findall(text)
    ]


def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _definitions(cell: Cell) -> dict[str, ast.stmt | None]:
    """The functions and classes (and other names) that a cell defines; None for their nodes where it is not Python."""
    return _defined(source_of(cell)) if cell.get("cell_type") == "code" else {}


def _defined(text: str) -> dict[str, ast.stmt | None]:
    tree = _tree(text)
    if tree is None:
        return dict.fromkeys(re.findall(r"^(?:async\s+)?(?:def|class)\s+(\w+)", text, re.MULTILINE))
    found: dict[str, ast.stmt | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def _not_written(node: ast.stmt) -> bool:
    """Whether a definition is still as the lesson gives it: its functions do nothing but raise NotYet."""
    if isinstance(node, ast.ClassDef):
        methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]
        empty = [_not_written(inner) for inner in methods]
        return any(empty) and "NotYet" in ast.dump(node)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    body = [one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotYet" in ast.dump(body[0])


def _nothing_written(cell: Cell) -> bool:
    """Whether a cell only defines what its learner has not written yet."""
    definitions = _definitions(cell)
    return bool(definitions) and all(node is not None and _not_written(node) for node in definitions.values())


def _asks_for(text: str) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """What makes two versions of an exercise's cell ask for the same: their checks, and the functions checked."""
    checks = sorted(_checks(text))
    names = {name for _, names in checks for name in names}
    return checks, sorted(names & _defined(text).keys())


def _parameters(text: str, name: str) -> list[str] | None:
    node = _defined(text).get(name)
    if not isinstance(node, ast.FunctionDef):
        return None
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def _grafted(text: str, new: str, functions: tuple[str, ...]) -> str:
    """The new cell with the learner's functions in it, and above them whatever else the learner's cell has."""
    mine, theirs = _tree(text), _tree(new)
    if mine is None or theirs is None:
        return f"{text.rstrip()}\n\n\n{new}"
    lines = new.splitlines()
    given = {ast.dump(node) for node in theirs.body}
    defined, wanted = _defined(text), _defined(new)
    for name in sorted(set(functions) & wanted.keys(), key=lambda name: -wanted[name].lineno):  # type: ignore[union-attr]
        node = wanted[name]
        if node is not None and defined.get(name) is not None:
            lines[_first_line(node) - 1 : node.end_lineno] = _segment(text, defined[name])
    kept = [
        node
        for node in mine.body
        if ast.dump(node) not in given
        and not any(defined.get(name) is node for name in functions)
        and not _checks(ast.unparse(node))
    ]
    above = [line for node in kept for line in _segment(text, node)]
    return "\n".join([*above, *[""] * 2 * bool(above), *lines])


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])


def _segment(text: str, node: ast.stmt | None) -> list[str]:
    assert node is not None
    return text.splitlines()[_first_line(node) - 1 : node.end_lineno]


def _as_text(cell: Cell) -> Cell:
    """A cell that runs nothing: code as a block of code in a text."""
    text = source_of(cell)
    if cell.get("cell_type") == "code":
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        text = f"{fence}python\n{text.rstrip()}\n{fence}"
    return {"cell_type": "markdown", "metadata": {}, "source": text}
