"""Changes to statements: = in place of +=, a return inside the loop, a line too many, a start value elsewhere."""

import ast
from collections.abc import Iterator
from typing import Any

Found = tuple[Any, str]
Changes = tuple[tuple[ast.AST, str, int | None, Any], ...]


def of_statements(tree: ast.FunctionDef) -> Iterator[tuple[Changes, ast.AST, str]]:
    """All changes: the nodes' new parts, the statement that each is about, the sentence."""
    given = {one.arg for one in tree.args.args}
    for parent in ast.walk(tree):
        last = parent.body[-1] if isinstance(parent, ast.For | ast.While) else None
        if isinstance(last, ast.Return) and len(parent.body) > 1:  # type: ignore[attr-defined]
            said = "`{here}` stands inside the loop, so the function ends in the first round."
            moved = ((parent, "body", None, parent.body[:-1]), (tree, "body", None, [*tree.body, last]))  # type: ignore
            yield moved, last, said
        for field in ("body", "orelse"):
            body = getattr(parent, field, None)
            if not isinstance(body, list):
                continue
            for index, one in enumerate(body):
                if not isinstance(one, ast.stmt):
                    continue
                rest = [*body[:index], *body[index + 1 :]]
                if rest and _may_go(one, given):
                    yield ((parent, field, None, rest),), one, _why_gone(one, given)
                for new, said in _assignments(one):
                    yield ((parent, field, index, _located(new, one)),), one, said
                for new_body, here, said in _loops(body, index):
                    yield ((parent, field, None, new_body),), here, said
                if index + 1 < len(body) and not isinstance(body[index + 1], ast.Return):
                    exchanged = [*body[:index], body[index + 1], one, *body[index + 2 :]]
                    yield (
                        ((parent, field, None, exchanged),),
                        one,
                        "`{here}` and what follows it are in the wrong order.",
                    )


def _located(new: Any, old: ast.AST) -> Any:
    return ast.fix_missing_locations(ast.copy_location(new, old))


def _may_go(one: ast.stmt, given: set[str]) -> bool:
    """Whether a statement may be one too many."""
    target = one.targets[0] if isinstance(one, ast.Assign) else one.target if isinstance(one, ast.AugAssign) else None
    return isinstance(one, ast.AugAssign) or (isinstance(target, ast.Name) and target.id in given)


def _why_gone(one: ast.stmt, given: set[str]) -> str:
    if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
        return f"`{{here}}` takes the place of the input {one.targets[0].id}, which is then lost."
    return "`{here}` is one step too many."


def _assignments(one: ast.stmt) -> Iterator[Found]:
    if isinstance(one, ast.Assign) and len(one.targets) == 1:
        target = one.targets[0]
        if isinstance(target, ast.Name):
            whole = ast.Subscript(ast.Name(target.id, ast.Load()), ast.Constant(...), ast.Store())
            said = f"`{{here}}` only gives the name {target.id} another value: nothing is written into the array."
            yield ast.Assign([whole], one.value), said
        if isinstance(target, ast.Subscript | ast.Name):
            said = "`{here}` replaces what was there instead of adding to it."
            yield ast.AugAssign(target, ast.Add(), one.value), said
        if isinstance(target, ast.Tuple) and len(target.elts) in (2, 3):
            for order in ((1, 0), (1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)):
                if len(order) == len(target.elts):
                    new = ast.Tuple([target.elts[place] for place in order], ast.Store())
                    yield (
                        ast.Assign([new], one.value),
                        "`{here}` unpacks the parts in the wrong order.",
                    )
    if isinstance(one, ast.AugAssign):
        for operator in (ast.Add, ast.Sub, ast.Mult, ast.Div):
            if not isinstance(one.op, operator):
                yield ast.AugAssign(one.target, operator(), one.value), "In `{here}` another operator belongs."
        yield ast.Assign([one.target], one.value), "`{here}` adds to what was there instead of replacing it."


def _loops(body: list[ast.stmt], index: int) -> Iterator[tuple[list[ast.stmt], ast.stmt, str]]:
    """A loop whose start value or sum is in the wrong place."""
    one = body[index]
    if not isinstance(one, ast.For):
        return
    first = one.body[0]
    if isinstance(first, ast.Assign) and len(one.body) > 1:
        new = [*body[:index], first, _with_body(one, one.body[1:]), *body[index + 1 :]]
        yield new, first, "`{here}` is done again in every round of the loop, but it belongs before the loop."
    for place, inner in enumerate(one.body):
        if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
            name = inner.targets[0]
            if name.id == getattr(one.target, "id", ""):
                continue
            start = _located(ast.Assign([ast.Name(name.id, ast.Store())], ast.Constant(0)), inner)
            added = _located(ast.AugAssign(ast.Name(name.id, ast.Store()), ast.Add(), inner.value), inner)
            loop = _with_body(one, [*one.body[:place], added, *one.body[place + 1 :]])
            said = "`{here}` replaces in every round what the last round left, but the rounds should add up."
            yield [*body[:index], start, loop, *body[index + 1 :]], inner, said
    for place, before in enumerate(body[:index]):
        if isinstance(before, ast.Assign):
            rest = [*body[:place], *body[place + 1 : index]]
            for loop in _started_anew(one, before):
                yield (
                    [*rest, loop, *body[index + 1 :]],
                    before,
                    "`{here}` stands before the loop, but each round needs it anew.",
                )


def _started_anew(loop: ast.For, start: ast.stmt) -> Iterator[ast.stmt]:
    """The loop with a start value set at the beginning of its rounds, or of those of a loop inside it."""
    yield _with_body(loop, [start, *loop.body])
    for place, inner in enumerate(loop.body):
        if isinstance(inner, ast.For):
            for new in _started_anew(inner, start):
                yield _with_body(loop, [*loop.body[:place], new, *loop.body[place + 1 :]])


def _with_body(loop: ast.For | ast.While, body: list[ast.stmt]) -> ast.stmt:
    return _located(type(loop)(**dict(ast.iter_fields(loop)) | {"body": body}), loop)
