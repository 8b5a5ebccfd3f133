"""Changes to names: one in the place of another, two mixed up everywhere, one that is missing as a factor or a term."""

import ast
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from tinymixer.lessons.hints.operators import binary
from tinymixer.lessons.hints.statements import Changes

Place = tuple[ast.AST, str, int | None, ast.AST]  # parent, field, index in the field, node
Found = tuple[Changes, ast.AST, str]


def located(new: Any, old: ast.AST) -> Any:
    """A new part with the line numbers of the old one."""
    return ast.fix_missing_locations(ast.copy_location(new, old)) if isinstance(new, ast.AST) else new


def _inputs(tree: ast.FunctionDef) -> list[str]:
    return [one.arg for one in tree.args.args]


def _all_names(tree: ast.FunctionDef) -> list[str]:
    """The function's inputs and variables, each once."""
    stored = [one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    return list(dict.fromkeys([*_inputs(tree), *stored]))


def _read(node: ast.AST) -> str:
    """The name that is read here; "" where it is something else."""
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ""


def _is_target(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _named(name: str, node: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), node)


def exchanged(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """Two inputs mixed up everywhere."""
    for one, other in itertools.combinations(_inputs(tree), 2):
        swapped = {one: other, other: one}
        found = [p for p in places if _read(p[3]) in swapped]
        if len(found) > 1:
            changes = tuple((*p[:3], _named(swapped[_read(p[3])], p[3])) for p in found)
            yield changes, found[0][3], f"{one} and {other} are mixed up: each stands where the other belongs."


def of_loops(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """What loops count, times an input: patches counted where pixels are meant."""
    loops = [one.target.id for one in ast.walk(tree) if isinstance(one, ast.For) and isinstance(one.target, ast.Name)]
    found = [p for p in places if _read(p[3]) in loops]
    for given in _inputs(tree) if found else []:
        changes = tuple(
            (*p[:3], located(binary(_named(_read(p[3]), p[3]), ast.Mult(), _named(given, p[3])), p[3])) for p in found
        )
        yield changes, found[0][3], "In `{line}` {here} counts steps, but the place where each step begins is needed."


def rests_to_one(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """A share and its rest to 1 mixed up everywhere."""
    for given in _inputs(tree):
        rests = [p for p in places if isinstance(p[3], ast.BinOp) and ast.unparse(p[3]) == f"1 - {given}"]
        within = {id(p[3].right) for p in rests if isinstance(p[3], ast.BinOp)}
        plain = [p for p in places if _read(p[3]) == given and id(p[3]) not in within]
        if rests and plain:
            changes = [(*p[:3], p[3].right) for p in rests if isinstance(p[3], ast.BinOp)]
            for p in plain:
                changes.append((*p[:3], located(binary(ast.Constant(1), ast.Sub(), _named(given, p[3])), p[3])))
            said = f"{given} and the rest, 1 - {given}, are mixed up: each stands where the other belongs."
            yield tuple(changes), rests[0][3], said


def transposed(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """A factor transposed wherever it is one."""
    factors = [p for p in places if isinstance(p[0], ast.BinOp) and isinstance(p[0].op, ast.MatMult)]
    for name in _all_names(tree):
        found = [p for p in factors if _read(p[3]) == name]
        if len(found) > 1:
            changes = tuple((*p[:3], located(ast.Attribute(_named(name, p[3]), "T", ast.Load()), p[3])) for p in found)
            yield changes, found[0][3], f"{name} must be transposed wherever it is a factor, as in `{{line}}`."


def others(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """A variable in the place of another, of an expression, or of a number in square brackets."""
    names = _all_names(tree)
    for parent, field, index, node in places:
        number = isinstance(node, ast.Constant) and isinstance(parent, ast.Subscript) and field == "slice"
        expression = isinstance(node, ast.Call | ast.Subscript) and not _is_target(node)
        if _read(node) in names or number or expression:
            for name in names:
                if name not in (_read(node), _grown_by(parent)):
                    said = "In `{line}` another variable belongs in the place of {here}."
                    if number:
                        said = "In `{line}` the {here} in square brackets never changes: a variable belongs there."
                    yield ((parent, field, index, _named(name, node)),), node, said


def _grown_by(parent: ast.AST) -> str:
    """The list to which this call appends. It must not get itself as an element: NumPy would never be done with it."""
    if isinstance(parent, ast.Call) and getattr(parent.func, "attr", "") in ("append", "extend", "insert"):
        return str(getattr(getattr(parent.func, "value", None), "id", ""))
    return ""


def attributes(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """Another part of the same object, such as block.token_norm for block.channel_norm."""
    found = [
        (p, p[3], p[3].value.id) for p in places if isinstance(p[3], ast.Attribute) and isinstance(p[3].value, ast.Name)
    ]
    used = list(dict.fromkeys((owner, node.attr) for _, node, owner in found))
    for place, node, own in found:
        for owner, attribute in used:
            if owner == own not in ("np", "math", "ops") and attribute != node.attr:
                new = located(ast.Attribute(node.value, attribute, ast.Load()), node)
                said = f"In `{{line}}` {{here}} stands where another part of {owner} belongs."
                yield ((*place[:3], new),), node, said


def _spots(places: list[Place]) -> list[Place]:
    """Where a factor or a term may be missing."""
    kinds = ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Attribute | ast.Constant
    return [
        p for p in places if isinstance(p[3], kinds) and not _is_target(p[3]) and not isinstance(p[0], ast.Attribute)
    ]


def _whole_values(tree: ast.FunctionDef, places: list[Place]) -> set[int]:
    """The right sides of assignments, what is returned, and the sides of comparisons."""
    whole = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Assign | ast.AugAssign | ast.Return)}
    whole |= {id(one) for p in places if isinstance(p[3], ast.Tuple) and id(p[3]) in whole for one in p[3].elts}
    return whole | {id(o) for p in places if isinstance(p[3], ast.Compare) for o in (p[3].left, *p[3].comparators)}


def missing(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """A name that is missing as a factor or a term; the names that are used nowhere first."""
    read = {_read(p[3]) for p in places}
    names, inputs, whole = _all_names(tree), _inputs(tree), _whole_values(tree, places)
    wide = (ast.Mult(), ast.Div(), ast.Add(), ast.Sub(), ast.MatMult())
    for name in sorted(names, key=lambda one: one in read):
        unused = name not in read
        for parent, field, index, node in _spots(places):
            other = _named(name, node)
            for operator in wide if unused or id(node) in whole else wide[:1]:
                kind = "term" if isinstance(operator, ast.Add | ast.Sub) else "factor"
                said = f"In `{{line}}` a {kind} is missing at {{here}}."
                if unused:
                    where = "input" if name in inputs else "variable"
                    said = f"The {where} {name} is used nowhere, but it is needed."
                new = located(binary(node, operator, other), node)  # type: ignore[arg-type]
                yield ((parent, field, index, new),), node, said
            if id(node) in whole:
                new = located(binary(other, ast.Sub(), node), node)  # type: ignore[arg-type]
                yield ((parent, field, index, new),), node, "In `{line}` something is missing before the right part."


def numbers_missing(tree: ast.FunctionDef, places: list[Place]) -> Iterator[Found]:
    """A root, a number as a factor, or a 1 that is missing."""
    for parent, field, index, node in _spots(places):
        if isinstance(node, ast.BinOp | ast.Call):
            root = ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "sqrt", ast.Load()), [node], [])
            yield ((parent, field, index, located(root, node)),), node, "In `{line}` a root is missing at {here}."
    for parent, field, index, node in _spots(places):
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult):
            continue
        for number, operator, said in (
            (0.5, ast.Mult(), "In `{line}` a factor (a number) is missing at {here}."),
            (2, ast.Mult(), "In `{line}` a factor (a number) is missing at {here}."),
            (1, ast.Add(), "In `{line}` a 1 is missing at {here}."),
            (1, ast.Sub(), "In `{line}` {here} is larger by 1 than it should be."),
            (1e-3, ast.Mult(), "In `{line}` a factor (a small number) is missing at {here}."),
        ):
            new = located(binary(node, operator, ast.Constant(number)), node)  # type: ignore[arg-type]
            yield ((parent, field, index, new),), node, said


Make = Callable[[ast.FunctionDef, list[Place]], Iterator[Found]]
LIKELIEST: tuple[Make, ...] = (exchanged, of_loops, rests_to_one, transposed, others, attributes)
OTHERS: tuple[Make, ...] = (missing, numbers_missing)
