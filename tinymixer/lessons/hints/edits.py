"""Single changes to a function's syntax tree, each undoing one common mistake, with what is said where it helps.

A sentence says what is wrong and where, not what to write: `{here}` stands for the learner's own expression.
"""

import ast
import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinymixer.lessons.hints import calls

Found = tuple[Any, str]  # what to put in the place of a node, and the sentence


@dataclass(frozen=True)
class Edit:
    """Other parts for some nodes: (parent, field, index or None, new value) each; `here` is the node it is about."""

    changes: tuple[tuple[ast.AST, str, int | None, Any], ...]
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


def edits(tree: ast.FunctionDef) -> Iterator[Edit]:
    """All single changes to a function, the likeliest mistakes first."""
    places = list(_places(tree))
    yield from _everywhere(places)
    for make in (_operator, calls.of_axes, _constant, _product, calls.of_pairs, _comparison, calls.of_functions):
        for parent, field, index, node in places:
            for new, said in make(node):
                yield Edit(((parent, field, index, _located(new, node)),), node, said)
    yield from _of_statements(tree)
    yield from _other_names(tree, places)
    for make in (calls.of_order, _part_dropped, _conditions):
        for parent, field, index, node in places:
            for new, said in make(node):
                yield Edit(((parent, field, index, _located(new, node)),), node, said)
    yield from _unused_input(tree, places)


def _located(new: Any, old: ast.AST) -> Any:
    return ast.fix_missing_locations(ast.copy_location(new, old)) if isinstance(new, ast.AST) else new


def _places(tree: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every expression of the body with where it hangs: parent, field, index."""
    for statement in tree.body:
        for parent in ast.walk(statement):
            for field, value in ast.iter_fields(parent):
                if isinstance(value, ast.expr):
                    yield parent, field, None, value
                elif isinstance(value, list):
                    for index, one in enumerate(value):
                        if isinstance(one, ast.expr):
                            yield parent, field, index, one


def _everywhere(places: list[tuple[ast.AST, str, int | None, ast.AST]]) -> Iterator[Edit]:
    """The same change at all places at once, for what learners do alike in every line."""
    for make in calls.EVERYWHERE:
        for choice in range(8):
            changes, here, said = [], None, ""
            for parent, field, index, node in places:
                options = list(make(node))
                if choice < len(options):
                    changes.append((parent, field, index, _located(options[choice][0], node)))
                    here, said = here or node, said or options[choice][1]
            if len(changes) > 1 and here is not None:
                yield Edit(tuple(changes), here, said)


def _binary(left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.BinOp:
    return ast.BinOp(left, operator, right)


OPERATORS: tuple[tuple[type[ast.operator], type[ast.operator], str], ...] = (
    (ast.FloorDiv, ast.Div, "`{here}` divides with //, which drops what comes after the point. A plain / keeps it."),
    (ast.Div, ast.FloorDiv, "`{here}` makes a fraction where a whole number, rounded down, belongs."),
    (ast.Mult, ast.MatMult, "`{here}` multiplies element by element (NumPy broadcasts what it can); a matrix product "
     "belongs there."),
    (ast.MatMult, ast.Mult, "`{here}` is a matrix product; the elements are to be multiplied one by one."),
    (ast.Add, ast.Sub, "In `{here}` the sign of the second part is wrong."),
    (ast.Sub, ast.Add, "In `{here}` the sign of the second part is wrong."),
    (ast.Mult, ast.Div, "`{here}` multiplies where it should divide."),
    (ast.Div, ast.Mult, "`{here}` divides where it should multiply."),
    (ast.Mult, ast.Add, "`{here}` multiplies where the two should be added."),
    (ast.Add, ast.Mult, "`{here}` adds where the two should be multiplied."),
    (ast.BitXor, ast.Pow, "`{here}`: ^ is no power in Python. A power is written **."),
    (ast.Mod, ast.FloorDiv, "`{here}` takes the remainder where the quotient belongs."),
    (ast.FloorDiv, ast.Mod, "`{here}` takes the quotient where the remainder belongs."),
)  # fmt: skip


def _operator(node: ast.AST) -> Iterator[Found]:
    """Another operator, the operands exchanged, or brackets in another place."""
    if not isinstance(node, ast.BinOp):
        return
    for old, new, said in OPERATORS:
        if isinstance(node.op, old):
            yield _binary(node.left, new(), node.right), said
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow | ast.FloorDiv | ast.Mod):
        yield _binary(node.right, node.op, node.left), "The two sides of `{here}` have changed places."
    inner = node.left
    if isinstance(inner, ast.BinOp):
        yield (
            _binary(inner.left, inner.op, _binary(inner.right, node.op, node.right)),
            "In `{here}` the brackets are missing or in another place: Python works from left to right, products first.",
        )
        if isinstance(inner.op, ast.Div) and isinstance(node.op, ast.Mult):
            yield (
                _binary(inner.left, ast.Div(), _binary(inner.right, ast.Mult(), node.right)),
                "Python reads `{here}` from left to right, so what comes after the * is not in the divisor: brackets.",
            )
    if isinstance(node.right, ast.BinOp) and not isinstance(node.op, ast.MatMult):
        part = node.right
        yield (
            _binary(_binary(node.left, node.op, part.left), part.op, part.right),
            "In `{here}` the brackets are missing or in another place: Python works from left to right, products first.",
        )


def _product(node: ast.AST) -> Iterator[Found]:
    """A matrix product with a factor transposed, or no longer transposed, or both and in the other order."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, "In `{here}` the .T is one too many: the array as it is belongs there."
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("dot", "matmul") and len(node.args) == 2:
        left, right = node.args
        pair = [(_turned(left), right), (left, _turned(right)), (right, left), (_turned(right), left)]
        for one, other in [*pair, (right, _turned(left)), (_turned(left), _turned(right))]:
            new = ast.Call(node.func, [one, other], node.keywords)
            yield (
                new,
                "The factors of `{here}` are not the right way round: one must be transposed, or the order changed.",
            )
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)):
        return
    left, right = node.left, node.right
    said = "In `{here}` a factor must be transposed: write both shapes beside it, and the shape that must come out."
    yield _binary(_turned(left), node.op, right), said
    yield _binary(left, node.op, _turned(right)), said
    yield _binary(_turned(left), node.op, _turned(right)), said
    said = "The factors of `{here}` are in the wrong order, and one is transposed that should not be, or the reverse."
    yield _binary(_turned(right), node.op, left), said
    yield _binary(right, node.op, _turned(left)), said
    yield _binary(_turned(right), node.op, _turned(left)), "`{here}` is the transpose of what is asked for."


def _turned(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else ast.Attribute(node, "T", ast.Load())


def _constant(node: ast.AST) -> Iterator[Found]:
    """Another number: one more, one less, the other sign, half, twice."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand, "The minus sign in `{here}` is one too many."
        return
    if not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        return
    value = node.value
    near = [value + 1, value - 1] if isinstance(value, int) else []
    for new in [*near, -value, 2 * value, value / 2, value * value, 3 * value]:
        if new != value:
            yield ast.Constant(new), "The number {here} in `{line}` is not the right one there."
    if isinstance(value, bool):
        yield ast.Constant(not value), "{here} in `{line}` should be the opposite."


COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt, ast.GtE),
    ast.LtE: (ast.Lt, ast.GtE, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt, ast.LtE),
    ast.GtE: (ast.Gt, ast.LtE, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def _comparison(node: ast.AST) -> Iterator[Found]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for number, new in enumerate(COMPARISONS.get(type(node.ops[0]), ())):
            at_the_edge = number == 0 and not isinstance(node.ops[0], ast.Eq | ast.NotEq)
            said = (
                "`{here}` decides wrongly where both sides are equal: with or without the = sign?"
                if at_the_edge
                else "The comparison `{here}` is the wrong way round."
            )
            yield ast.Compare(node.left, [new()], node.comparators), said


def _conditions(node: ast.AST) -> Iterator[Found]:
    """A mask or a condition negated."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield node.operand, "`{here}` should not be negated."
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body), "The two ways of `{here}` have changed places."
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield ast.UnaryOp(ast.Invert(), node), "{here} in `{line}` is used the wrong way round: True for what stays?"
        one_minus = _binary(ast.Constant(1), ast.Sub(), node)
        yield one_minus, "In `{line}` {here} stands where the rest to 1 belongs."
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and isinstance(node.left, ast.Constant):
        if node.left.value == 1:
            yield node.right, "In `{line}` it is not the rest to 1, `{here}`, that belongs there."


def _part_dropped(node: ast.AST) -> Iterator[Found]:
    """A term or a factor that does not belong there."""
    if isinstance(node, ast.BinOp):
        sides = ((node.left, node.right),) + (
            () if isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.FloorDiv) else ((node.right, node.left),)
        )
        for kept, dropped in sides:
            yield kept, f"In `{{here}}` the part {ast.unparse(dropped)} does not belong there."


def _of_statements(tree: ast.FunctionDef) -> Iterator[Edit]:
    """= in place of += and the reverse; a return inside the loop; two statements in the wrong order."""
    for parent in ast.walk(tree):
        for field in ("body", "orelse"):
            body = getattr(parent, field, None)
            if not isinstance(body, list):
                continue
            for index, one in enumerate(body):
                for new, said in _assignments(one):
                    yield Edit(((parent, field, index, _located(new, one)),), one, said)
                if isinstance(one, ast.For | ast.While) and isinstance(one.body[-1], ast.Return) and len(one.body) > 1:
                    moved = _located(type(one)(**{**dict(ast.iter_fields(one)), "body": one.body[:-1]}), one)
                    new_body = [*body[:index], moved, one.body[-1], *body[index + 1 :]]
                    said = "`{here}` stands inside the loop, so the function ends in its first round."
                    yield Edit(((parent, field, None, new_body),), one.body[-1], said)
                if index + 1 < len(body) and not isinstance(body[index + 1], ast.Return):
                    exchanged = [*body[:index], body[index + 1], one, *body[index + 2 :]]
                    said = "`{here}` and the line after it are in the wrong order."
                    yield Edit(((parent, field, None, exchanged),), one, said)
                if isinstance(parent, ast.For) and index == 0 and isinstance(one, ast.Assign):
                    yield from _moved_before(tree, parent, one)


def _moved_before(tree: ast.FunctionDef, loop: ast.For, one: ast.stmt) -> Iterator[Edit]:
    """The first line of a loop moved before it: a start value that is set again in every round."""
    for parent in ast.walk(tree):
        body = getattr(parent, "body", None)
        if isinstance(body, list) and loop in body and len(loop.body) > 1:
            index = body.index(loop)
            rest = _located(type(loop)(**{**dict(ast.iter_fields(loop)), "body": loop.body[1:]}), loop)
            said = "`{here}` is done again in every round of the loop; it belongs before it."
            yield Edit(((parent, "body", None, [*body[:index], one, rest, *body[index + 1 :]]),), one, said)


def _assignments(one: ast.stmt) -> Iterator[Found]:
    if isinstance(one, ast.Assign) and len(one.targets) == 1 and not isinstance(one.targets[0], ast.Tuple):
        target = one.targets[0]
        if isinstance(target, ast.Subscript | ast.Name):
            yield (
                ast.AugAssign(target, ast.Add(), one.value),
                "`{here}` replaces what was there, where it should be added to it.",
            )
    if isinstance(one, ast.AugAssign):
        for operator in (ast.Add, ast.Sub, ast.Mult, ast.Div):
            if not isinstance(one.op, operator):
                yield (
                    ast.AugAssign(one.target, operator(), one.value),
                    "In `{here}` another operator belongs before the =.",
                )
        yield ast.Assign([one.target], one.value), "`{here}` adds to what was there, where it should replace it."


def _other_names(tree: ast.FunctionDef, places: list[tuple[ast.AST, str, int | None, ast.AST]]) -> Iterator[Edit]:
    """A variable in the place of another."""
    names = [one.arg for one in tree.args.args]
    names += [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for parent, field, index, node in places:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            for name in dict.fromkeys(names):
                if name != node.id:
                    new = _located(ast.Name(name, ast.Load()), node)
                    said = "In `{line}` another variable belongs in the place of {here}."
                    yield Edit(((parent, field, index, new),), node, said)


def _unused_input(tree: ast.FunctionDef, places: list[tuple[ast.AST, str, int | None, ast.AST]]) -> Iterator[Edit]:
    """An input that is not used, as a factor or a term of some part."""
    used = {node.id for _, _, _, node in places if isinstance(node, ast.Name)}
    given = [one.arg for one in tree.args.args]
    stored = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for name in dict.fromkeys([one for one in given if one not in used] + [one for one in stored if one not in loaded]):
        kind = "input" if name in given else "variable"
        operators = (ast.Mult, ast.Div, ast.Add, ast.Sub, ast.MatMult)
        for (parent, field, index, node), operator in itertools.product(places, operators):
            if isinstance(node, ast.Name | ast.BinOp | ast.Call) and not isinstance(
                getattr(node, "ctx", None), ast.Store
            ):
                new = _located(_binary(copy.copy(node), operator(), ast.Name(name, ast.Load())), node)  # type: ignore[arg-type]
                yield Edit(
                    ((parent, field, index, new),), node, f"The {kind} {name} is used nowhere, and it is needed."
                )
