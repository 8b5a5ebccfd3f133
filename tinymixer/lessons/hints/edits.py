"""Single changes to a function's syntax tree, each undoing one common mistake, with what is said where it helps.

A sentence says what is wrong and where, not what to write: `{here}` stands for the learner's own expression, `{line}`
for the line around it.
"""

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinymixer.lessons.hints import calls, operators
from tinymixer.lessons.hints.statements import Changes, of_statements

Make = Callable[[ast.AST], Iterator[tuple[Any, str]]]
Place = tuple[ast.AST, str, int | None, ast.AST]  # parent, field, index in the field, node


@dataclass(frozen=True)
class Edit:
    """changes: (parent, field, index or None, new part) each; here: the node it is about; said: the sentence."""

    changes: Changes
    here: ast.AST
    said: str

    def put(self) -> "Edit":
        """Make the changes in the tree, and return the edit that undoes them."""
        undo = []
        for parent, name, index, new in self.changes:
            value = getattr(parent, name)
            if index is None:
                undo.append((parent, name, index, value))
                setattr(parent, name, new)
            else:
                undo.append((parent, name, index, value[index]))
                value[index] = new
        return Edit(tuple(reversed(undo)), self.here, self.said)


LIKELIEST: tuple[Make, ...] = (
    operators.one_off, operators.constant_dropped, operators.other_operator, calls.of_axes, operators.product,
    calls.of_pairs, operators.brackets, operators.constant, operators.comparison, calls.of_functions,
    operators.subscript,
)  # fmt: skip
OTHERS: tuple[Make, ...] = (calls.of_order, operators.part_dropped, operators.condition)
AT_ALL_PLACES: tuple[Make, ...] = (
    *calls.EVERYWHERE, *operators.EVERYWHERE, operators.quotients_for_remainders, operators.subscript,
)  # fmt: skip


def edits(tree: ast.FunctionDef) -> Iterator[Edit]:
    """All single changes to a function, the likeliest mistakes first."""
    places = list(_places(tree))
    for make in AT_ALL_PLACES:
        yield from _at_all_places(places, make)
    for make in LIKELIEST:
        yield from _one_by_one(places, make)
    for changes, here, said in of_statements(tree):
        yield Edit(changes, here, said)
    names = _names(tree)
    yield from _names_exchanged(tree, places, names)
    yield from _transposed(places, names)
    yield from _other_names(places, names)
    yield from _other_attributes(places)
    for make in OTHERS:
        yield from _one_by_one(places, make)
    yield from _part_missing(tree, places, names)


def _one_by_one(places: list[Place], make: Make) -> Iterator[Edit]:
    for parent, field, index, node in places:
        for new, said in make(node):
            yield Edit(((parent, field, index, _located(new, node)),), node, said)


def _at_all_places(places: list[Place], make: Make) -> Iterator[Edit]:
    """The same change at all places at once, for what learners do alike in every line."""
    options = [(place, list(make(place[3]))) for place in places]
    for choice in range(max((len(found) for _, found in options), default=0)):
        chosen = [(place, found[choice]) for place, found in options if choice < len(found)]
        if len(chosen) > 1:
            changes = tuple((*place[:3], _located(new, place[3])) for place, (new, _) in chosen)
            yield Edit(changes, chosen[0][0][3], chosen[0][1][1])


def _located(new: Any, old: ast.AST) -> Any:
    return ast.fix_missing_locations(ast.copy_location(new, old)) if isinstance(new, ast.AST) else new


def _places(tree: ast.FunctionDef) -> Iterator[Place]:
    """Every expression of the body with where it hangs."""
    for statement in tree.body:
        for parent in ast.walk(statement):
            for field, value in ast.iter_fields(parent):
                if isinstance(value, ast.expr):
                    yield parent, field, None, value
                elif isinstance(value, list):
                    yield from ((parent, field, i, one) for i, one in enumerate(value) if isinstance(one, ast.expr))


def _names(tree: ast.FunctionDef) -> list[str]:
    """The function's inputs and variables, each once."""
    stored = [one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    return list(dict.fromkeys([*(one.arg for one in tree.args.args), *stored]))


def _is_read(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _named(name: str, node: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), node)


def _names_exchanged(tree: ast.FunctionDef, places: list[Place], names: list[str]) -> Iterator[Edit]:
    """Two inputs mixed up everywhere."""
    given = [one.arg for one in tree.args.args]
    for one, other in itertools.combinations(given, 2):
        swapped = {one: other, other: one}
        found = [p for p in places if isinstance(p[3], ast.Name) and _is_read(p[3]) and p[3].id in swapped]
        if len(found) > 1:
            changes = tuple((*p[:3], _named(swapped[p[3].id], p[3])) for p in found if isinstance(p[3], ast.Name))
            yield Edit(changes, found[0][3], f"{one} and {other} are mixed up: each stands where the other belongs.")


def _transposed(places: list[Place], names: list[str]) -> Iterator[Edit]:
    """A factor transposed wherever it is one."""
    for name in names:
        found = [p for p in places if _is_factor(p) and getattr(p[3], "id", "") == name]
        if len(found) > 1:
            changes = tuple((*p[:3], _located(ast.Attribute(_named(name, p[3]), "T", ast.Load()), p[3])) for p in found)
            yield Edit(changes, found[0][3], f"{name} must be transposed wherever it is a factor, as in `{{line}}`.")


def _is_factor(place: Place) -> bool:
    return isinstance(place[0], ast.BinOp) and isinstance(place[0].op, ast.MatMult)


def _other_names(places: list[Place], names: list[str]) -> Iterator[Edit]:
    """A variable in the place of another, or of an expression."""
    for parent, field, index, node in places:
        read = isinstance(node, ast.Name) and _is_read(node) and node.id in names
        if read or (isinstance(node, ast.Call | ast.Subscript) and not _is_target(node)):
            for name in names:
                if name not in (getattr(node, "id", ""), _grown_by(parent)):
                    said = "In `{line}` another variable belongs in the place of {here}."
                    yield Edit(((parent, field, index, _named(name, node)),), node, said)


def _grown_by(parent: ast.AST) -> str:
    """The list to which this call appends. It must not get itself as an element: NumPy would never be done with it."""
    if isinstance(parent, ast.Call) and getattr(parent.func, "attr", "") in ("append", "extend", "insert"):
        return str(getattr(getattr(parent.func, "value", None), "id", ""))
    return ""


def _is_target(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _other_attributes(places: list[Place]) -> Iterator[Edit]:
    """Another part of the same object, such as block.token_norm for block.channel_norm."""
    found = [p for p in places if isinstance(p[3], ast.Attribute) and isinstance(p[3].value, ast.Name)]
    used = list(dict.fromkeys((p[3].value.id, p[3].attr) for p in found))  # type: ignore[attr-defined]
    for parent, field, index, node in found:
        assert isinstance(node, ast.Attribute)
        for owner, attribute in used:
            if owner not in ("np", "math", "ops") and owner == getattr(node.value, "id", "") and attribute != node.attr:
                new = _located(ast.Attribute(node.value, attribute, ast.Load()), node)
                said = f"In `{{line}}` {{here}} stands where another part of {owner} belongs."
                yield Edit(((parent, field, index, new),), node, said)


def _part_missing(tree: ast.FunctionDef, places: list[Place], names: list[str]) -> Iterator[Edit]:
    """A factor or a term that is missing: one of the names, or a small number."""
    read = {node.id for _, _, _, node in places if isinstance(node, ast.Name) and _is_read(node)}
    unused = [name for name in names if name not in read]
    kinds = ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Attribute | ast.Constant
    spots = [
        p for p in places if isinstance(p[3], kinds) and not _is_target(p[3]) and not isinstance(p[0], ast.Attribute)
    ]
    whole = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Assign | ast.AugAssign | ast.Return)}
    for name in [*unused, *[one for one in names if one not in unused]]:
        where = "input" if name in [one.arg for one in tree.args.args] else "variable"
        for parent, field, index, node in spots:
            other = _named(name, node)
            wide = name in unused or id(node) in whole
            for operator in (ast.Mult(), ast.Div(), ast.Add(), ast.Sub(), ast.MatMult()) if wide else (ast.Mult(),):
                new = _located(operators.binary(node, operator, other), node)  # type: ignore[arg-type]
                factor = isinstance(operator, ast.Mult | ast.Div | ast.MatMult)
                said = f"In `{{line}}` a {'factor' if factor else 'term'} is missing at {{here}}."
                if name in unused:
                    said = f"The {where} {name} is used nowhere, and it is needed."
                yield Edit(((parent, field, index, new),), node, said)
            if id(node) in whole:
                new = _located(operators.binary(other, ast.Sub(), node), node)  # type: ignore[arg-type]
                yield Edit(
                    ((parent, field, index, new),), node, "In `{line}` something is missing before the right part."
                )
    for parent, field, index, node in spots:
        for number, operator in (
            (0.5, ast.Mult()),
            (2, ast.Mult()),
            (1, ast.Add()),
            (1, ast.Sub()),
            (1e-3, ast.Mult()),
        ):
            new = _located(operators.binary(node, operator, ast.Constant(number)), node)  # type: ignore[arg-type]
            kind = "factor, a number," if isinstance(operator, ast.Mult) else "1"
            said = (
                f"In `{{line}}` a {kind} is missing at {{here}}." if kind != "1" else "In `{line}` {here} is one off."
            )
            yield Edit(((parent, field, index, new),), node, said)
