"""Detectors for the form of what came back: the right numbers, but in another order, type or wrapping.

Each takes a `Seen` and returns a hint, or "" unless undoing what it suspects makes every output right.
"""

import ast
from operator import itemgetter
from typing import Any

import numpy as np

from tinymixer.lessons.exercise import as_tuple
from tinymixer.lessons.hints.seen import Seen, words_for


def nothing_returned(seen: Seen) -> str:
    """A function that ends without returning, where it should."""
    if not any(outcome.returned is None or outcome.error is not None for outcome in seen.outcomes):
        return ""
    right = seen.returns_of(0, as_tuple(seen.exercise.reference))
    meant = {which for which, value in right if value is None}
    for case, outcome in enumerate(seen.outcomes):
        if outcome.returned is None or outcome.error is not None:
            for which, value in seen.returns_of(case):
                tree = seen.definitions[which]
                if value is None and tree is not None and which not in meant:
                    return _about_none(tree, seen.exercise.functions[which])
    return ""


def _about_none(tree: ast.FunctionDef, name: str) -> str:
    inner = {id(node) for one in _inner_functions(tree) for node in ast.walk(one)}
    nodes = [node for node in ast.walk(tree) if id(node) not in inner]
    returns = [node for node in nodes if isinstance(node, ast.Return) and node.value is not None]
    if returns and all(isinstance(one.value, ast.Constant) and one.value.value is None for one in returns):
        return ""
    if returns and any(isinstance(one.value, ast.Call) for one in returns) and _always_returns(tree.body):
        return f"{name} returns what another function gave it, and that was None."
    if returns:
        return f"{name} can end without reaching a return: then None comes back. Does every way through it end in one?"
    if any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" for node in nodes):
        return f"{name} prints and does not return: print shows a value to you, while return hands it to the caller."
    return f"{name} has no return, so None comes back: end it with return and the result."


def _inner_functions(tree: ast.AST) -> list[ast.AST]:
    kinds = ast.FunctionDef | ast.Lambda
    return [node for node in ast.walk(tree) if isinstance(node, kinds) and node is not tree]


def _always_returns(body: list[ast.stmt]) -> bool:
    for one in body:
        both = isinstance(one, ast.If) and _always_returns(one.body) and _always_returns(one.orelse)
        if isinstance(one, ast.Return) or both:
            return True
    return False


def function_returned(seen: Seen) -> str:
    """return x.sum in place of return x.sum()."""
    for outcome in seen.outcomes:
        values = outcome.returned if isinstance(outcome.returned, tuple) else (outcome.returned,)
        for value in values:
            if type(value).__name__ in ("builtin_function_or_method", "method", "function", "ufunc", "type"):
                name = getattr(value, "__name__", "a function")
                return f"The function {name} itself came back, not its result: it must be called, with round brackets."
    return ""


def wrapped(seen: Seen) -> str:
    """A single output inside a tuple or list: `return y,`, or a pair of which one was asked for."""
    if not seen.pairs:
        return ""
    lengths = {len(got) if isinstance(got, tuple | list) else 0 for _, got in seen.pairs}
    if len(lengths) > 1 or lengths == {0}:
        return ""
    count = lengths.pop()
    for index in range(count):
        if seen.explained_by(itemgetter(index)):
            if count == 1 and isinstance(seen.pairs[0][1], tuple):
                return (
                    f"{seen.output} is right, but it stands inside a tuple of one: a comma at the end of the line, "
                    "or brackets with a comma in them, make a tuple."
                )
            if count == 1:
                return f"{seen.output} is right, but it stands inside a list of one: leave out the brackets []."
            where = "first" if index == 0 else f"{index + 1}."
            return (
                f"{count} values came back, and {seen.output} alone is asked for: it is the {where} of them. (A "
                "forward of ops returns a pair, y and the cache: unpack it.)"
            )
    return ""


def _parts(seen: Seen) -> list[tuple[Any, ...]]:
    """What came back in each case as a tuple of parts; empty where it is something else somewhere."""
    returned = [outcome.returned for outcome in seen.outcomes]
    if any(outcome.error is not None for outcome in seen.outcomes):
        return []
    parts = [tuple(value) if isinstance(value, tuple | list) else (value,) for value in returned]
    return parts if len({len(part) for part in parts}) == 1 else []


def _places(seen: Seen, parts: list[tuple[Any, ...]]) -> dict[str, int]:
    """Which of the returned parts is which output, for the outputs that are there: name -> place."""
    found: dict[str, int] = {}
    for place, name in enumerate(seen.exercise.returns):
        if name == "cache":
            continue
        others = [one for one in range(len(parts[0])) if one != place]
        for one in ([place] if place < len(parts[0]) else []) + others:
            right = [outcome.outputs[name] for outcome in seen.expected if outcome.outputs is not None]
            if one not in found.values() and all(
                seen.agree(expected, got[one]) for expected, got in zip(right, parts, strict=False)
            ):
                found[name] = one
                break
    return found


def order_of_outputs(seen: Seen) -> str:
    """All outputs are there and right, in another order, or some are missing or too many."""
    exercise = seen.exercise
    asked = ", ".join(exercise.returns)
    if len(exercise.returns) > 1 and (alone := _one_output_alone(seen)):
        rest = [name for name in exercise.returns if name != alone]
        return f"What came back is {alone} alone, and right. {' and '.join(rest)} must come back too: return {asked}."
    if len(exercise.returns) == 1 or not (parts := _parts(seen)):
        return ""
    count = len(parts[0])
    places = _places(seen, parts)
    missing = [name for name in exercise.compared if name not in places]
    if not missing and count == len(exercise.returns):
        names = {place: name for name, place in places.items()}
        order = ", ".join(names.get(place, "cache") for place in range(count))
        return f"All of it is right, in another order: ({order}) came back, and ({asked}) is asked for."
    if not missing:
        return f"{count} values came back, and {len(exercise.returns)} are asked for: {asked}. One is too many."
    if places and count < len(exercise.returns) and len(places) == count:
        return f"What came back is right, but it is {' and '.join(places)} alone: {asked} are asked for, in this order."
    if all(outcome.outputs is None for outcome in seen.outcomes):
        came = words_for(seen.outcomes[0].returned)
        return f"{came[0].upper()}{came[1:]} came back, and {len(exercise.returns)} values are asked for: {asked}."
    return ""


def _one_output_alone(seen: Seen) -> str:
    """The output that came back all by itself, where there should be several; "" where it was none of them."""
    for name in seen.exercise.compared:
        if all(
            right.outputs is not None
            and outcome.outputs is None
            and outcome.error is None
            and seen.agree(right.outputs[name], outcome.returned)
            for right, outcome in zip(seen.expected, seen.outcomes, strict=False)
        ):
            return name
    return ""


def list_for_array(seen: Seen) -> str:
    """A Python list with the right numbers, where an array is asked for."""
    if any(not isinstance(got, list | tuple) and not seen.agree(expected, got) for expected, got in seen.pairs):
        return ""
    dtypes = iter([np.asarray(expected).dtype for expected, _ in seen.pairs])
    if seen.explained_by(lambda got: np.asarray(got, next(dtypes))):
        kind = "tuple" if any(isinstance(got, tuple) for _, got in seen.pairs) else "list"
        return (
            f"The numbers are right, but {seen.output} is a Python {kind}, and an array is asked for: with a {kind}, + "
            "would join and * would repeat. np.array makes an array of it, np.stack one of several arrays."
        )
    return ""


def axis_of_length_one(seen: Seen) -> str:
    """The right numbers with an axis of length 1 too many or too few: keepdims left, or forgotten."""
    if not all(isinstance(got, np.ndarray | np.number | float | int) for _, got in seen.pairs):
        return ""
    shapes = [(np.shape(expected), np.shape(got)) for expected, got in seen.pairs]
    if all(right == got for right, got in shapes):
        return ""
    squeezed = [[size for size in shape if size != 1] for pair in shapes for shape in pair]
    if squeezed[::2] != squeezed[1::2]:
        return ""
    targets = iter([shape for shape, _ in shapes])
    if not seen.explained_by(lambda got: np.reshape(got, next(targets))):
        return ""
    right, got = next(pair for pair in shapes if pair[0] != pair[1])
    if len(got) > len(right):
        cause = "keepdims=True leaves" if seen.uses("keepdims") else "A slice like [:1] or an index None leaves"
        return (
            f"The numbers are right, but {seen.output} has the shape {got} where {right} is asked for: an axis of "
            f"length 1 is left over. {cause} such an axis."
        )
    return (
        f"The numbers are right, but {seen.output} has the shape {got} where {right} is asked for: an axis of length 1 "
        "is gone. keepdims=True keeps it."
    )


def reshape_missing(seen: Seen) -> str:
    """The right numbers in the right order, in another shape."""
    if not seen.pairs or all(np.shape(expected) == np.shape(got) for expected, got in seen.pairs):
        return ""
    targets = iter([np.shape(expected) for expected, _ in seen.pairs])
    if not seen.explained_by(lambda got: np.reshape(got, next(targets))):
        return ""
    expected, got = next(pair for pair in seen.pairs if np.shape(pair[0]) != np.shape(pair[1]))
    return (
        f"The numbers are right and in the right order, but the shape is {np.shape(got)} where {np.shape(expected)} is "
        "asked for: a reshape is missing at the end, or it is the wrong one."
    )


def one_part_only(seen: Seen) -> str:
    """Only the last (or the first) of what should be put together along the first axis."""
    if not seen.pairs or not all(np.ndim(expected) == np.ndim(got) + 1 for expected, got in seen.pairs):
        return ""
    for index, words in ((-1, "last"), (0, "first")):
        if max(np.shape(expected)[0] for expected, _ in seen.pairs) > 1 and all(
            seen.agree(expected[index], got) for expected, got in seen.pairs
        ):
            why = "every round of the loop replaces what the one before it made" if index else "the others are left out"
            return (
                f"This is the {words} part of {seen.output} along its first axis alone: {why}. They must all be put "
                "together."
            )
    return ""


def written_nowhere(seen: Seen) -> str:
    """An array made by zeros or empty that comes back as it was made."""
    made = ("zeros", "zeros_like", "empty", "empty_like")
    trees = [tree for tree in seen.definitions if tree]
    if seen.error is not None or len(trees) != 1 or not seen.uses(*made):
        return ""
    nodes = list(ast.walk(trees[0]))
    for one in nodes:
        if not isinstance(one, ast.Assign) or not isinstance(one.targets[0], ast.Name):
            continue
        name = one.targets[0].id
        if not (isinstance(one.value, ast.Call) and getattr(one.value.func, "attr", "") in made):
            continue
        uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
        returned = [node for node in nodes if isinstance(node, ast.Return) and getattr(node.value, "id", "") == name]
        if returned and len(uses) == len(returned) + 1:
            return f"{name} is returned as it was made: nothing is ever written into it."
    return ""


def not_a_number(seen: Seen) -> str:
    """Text, a dict or something else that is no array, where numbers are asked for."""
    for expected, got in seen.pairs:
        if isinstance(expected, bool) and not isinstance(got, bool | np.bool_):
            return f"True or False is asked for, and {words_for(got)} came back: what is compared with what?"
        if isinstance(expected, np.ndarray | np.number | float | int) and isinstance(got, str | dict | set):
            what = {"str": "a text", "dict": "a dict", "set": "a set"}[type(got).__name__]
            return f"{what[0].upper()}{what[1:]} came back, and numbers are asked for."
    return ""


DETECTORS = (
    nothing_returned,
    function_returned,
    wrapped,
    order_of_outputs,
    list_for_array,
    axis_of_length_one,
    written_nowhere,
    not_a_number,
)
LATER = (reshape_missing, one_part_only)  # an exercise's own hints may say more
