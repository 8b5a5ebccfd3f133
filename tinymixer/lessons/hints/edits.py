"""Single changes to a function's syntax tree, each undoing one common mistake, with what is said where it helps.

A sentence says what is wrong and where, not what to write: `{here}` stands for the learner's own expression, `{line}`
for the line around it.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinymixer.lessons.hints import calls, names, operators
from tinymixer.lessons.hints.names import Place, located
from tinymixer.lessons.hints.statements import Changes, of_statements

Make = Callable[[ast.AST], Iterator[tuple[Any, str]]]


@dataclass(frozen=True)
class Edit:
    """changes: (parent, field, index or None, new part) each; here: the node it is about; said: the sentence."""

    changes: Changes
    here: ast.AST
    said: str

    def put(self) -> "Edit":
        """Make the changes in the tree, and return the edit that undoes them."""
        undo: list[tuple[ast.AST, str, int | None, Any]] = []
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
    for mixed_up in names.LIKELIEST:
        yield from (Edit(*found) for found in mixed_up(tree, places))
    for make in OTHERS:
        yield from _one_by_one(places, make)
    for missing in names.OTHERS:
        yield from (Edit(*found) for found in missing(tree, places))


def _one_by_one(places: list[Place], make: Make) -> Iterator[Edit]:
    for parent, field, index, node in places:
        for new, said in make(node):
            yield Edit(((parent, field, index, located(new, node)),), node, said)


def _at_all_places(places: list[Place], make: Make) -> Iterator[Edit]:
    """The same change at all places at once, for what learners do alike in every line."""
    options = [(place, list(make(place[3]))) for place in places]
    for choice in range(max((len(found) for _, found in options), default=0)):
        chosen = [(place, found[choice]) for place, found in options if choice < len(found)]
        chosen = [(place, (new, said)) for place, (new, said) in chosen if new is not place[3]]
        if len(chosen) > 1:
            changes = tuple((*place[:3], located(new, place[3])) for place, (new, _) in chosen)
            yield Edit(changes, chosen[0][0][3], chosen[0][1][1])


def _places(tree: ast.FunctionDef) -> Iterator[Place]:
    """Every expression of the body with where it hangs."""
    for statement in tree.body:
        for parent in ast.walk(statement):
            for field, value in ast.iter_fields(parent):
                if isinstance(value, ast.expr):
                    yield parent, field, None, value
                elif isinstance(value, list):
                    yield from ((parent, field, i, one) for i, one in enumerate(value) if isinstance(one, ast.expr))
