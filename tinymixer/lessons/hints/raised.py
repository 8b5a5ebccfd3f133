"""Detectors for errors: what Python's or NumPy's message means in the learner's line, with the values that met there.

`SURE` are those whose message leaves no doubt about the mistake; `EXPLAINED` put any other message into plain words.
"""

import ast
import builtins
import contextlib
import difflib
import inspect
import linecache
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinymixer.errors import ShapeError, TinymixerError
from tinymixer.lessons.hints.seen import Place, Seen, learners_frames, place_of, words_for
from tinymixer.lessons.running import message_of


def _near(word: str, choices: Iterable[str]) -> str:
    """The one of the choices that is nearly this word; "" where none is."""
    found = difflib.get_close_matches(word, [one for one in set(choices) if one != word], n=1, cutoff=0.6)
    return found[0] if found else ""


def _locals(seen: Seen, error: BaseException) -> dict[str, Any]:
    """The names in the learner's frame where the error arose."""
    frames = list(learners_frames(error, seen.answers))
    return dict(frames[-1][0].f_locals) if frames else {}


def name_misspelt(seen: Seen, error: BaseException) -> str:
    """NameError, or an attribute or a keyword that does not exist: one letter off, not imported, not given a value."""
    if isinstance(error, UnboundLocalError):
        return (
            f"{error.name} is used before it has a value: within the function, it gets one only further down or in "
            "a part that did not run. Give it a value before the loop."
        )
    if isinstance(error, NameError) and error.name:
        frames = list(learners_frames(error, seen.answers))
        here = dict(frames[-1][0].f_locals) if frames else {}
        around = frames[-1][0].f_globals if frames else {}
        others = [*around, *dir(builtins)] if len(error.name) > 2 else []
        if near := _near(error.name, here) or _near(error.name, others):
            return f"There is no {error.name}: did you mean {near}?"
        if error.name in ("i", "j") and not seen.uses("range", "enumerate", "ndindex"):
            return f"There is no {error.name} here. If the imaginary unit is meant: Python writes it 1j."
        if error.name in ("np", "numpy", "math", "ops"):
            return f"{error.name} is not imported: run the notebook's first cell, which imports it."
        return f"There is no {error.name} in this function: its inputs are {', '.join(_parameters(seen)) or 'others'}."
    if isinstance(error, AttributeError) and error.name:
        known = dir(error.obj)
        near = _near(error.name, known)
        if isinstance(error.obj, np.ndarray) and not near and hasattr(np, error.name):
            return f"An array has no .{error.name}: it is a function in NumPy, np.{error.name}(...)."
        if near and not isinstance(error.obj, tuple | list | type(None)):
            return f"There is no .{error.name}: did you mean .{near}?"
    if match := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
        known = ["axis", "keepdims", "dtype", "shape", "where", "initial", "out", "ddof", "indices_or_sections", "axes"]
        near = _near(match[1], [word for word in known if word != match[1]])
        if near and isinstance(error, TypeError):
            return f"There is no {match[1]}= here: did you mean {near}=?"
    return ""


def _parameters(seen: Seen) -> list[str]:
    return [name for tree in seen.definitions if tree for name in [one.arg for one in tree.args.args]]


def pair_not_unpacked(seen: Seen, error: BaseException) -> str:
    """A pair (y, cache), as the functions of ops and layers return it, used as if it were the array."""
    place = place_of(error, seen.answers)
    if place is None or not isinstance(error, AttributeError | TypeError | ValueError | TinymixerError):
        return ""
    caches = set(_caches(place.tree)) if place.tree is not None else set[str]()
    suspects: dict[str, Any] = {
        name: value for name, value in _operands(place) if _is_pair(value) and name not in caches
    }
    if isinstance(error, AttributeError) and _is_pair(error.obj):
        suspects[""] = error.obj
    if not suspects or isinstance(place.tree, ast.Name):
        return ""
    name = next(iter(suspects))
    subject = f"{name} is" if name else "This is"
    return (
        f"{subject} not an array but a pair, (y, cache), as a forward returns it: in `{place.text}` the array alone is "
        "needed. Unpack it: two names on the left of the =."
    )


def _caches(tree: ast.AST) -> Iterator[str]:
    """What is handed to a backward function as its cache: it may be a pair."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("backward"):
            yield from map(ast.unparse, call.args[1:])


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray) and value[0].ndim > 0


def _operands(place: Place) -> list[tuple[str, Any]]:
    """The parts that met in the failing expression, each as it is written and with its value."""
    tree = place.tree
    nodes: list[ast.expr] = []
    if isinstance(tree, ast.BinOp):
        nodes = [tree.left, tree.right]
    elif isinstance(tree, ast.Compare):
        nodes = [tree.left, *tree.comparators]
    elif isinstance(tree, ast.Call):
        method = isinstance(tree.func, ast.Attribute) and not _is_module(place, tree.func.value)
        nodes = [tree.func.value, *tree.args] if method and isinstance(tree.func, ast.Attribute) else [*tree.args]
    elif isinstance(tree, ast.Subscript):
        nodes = [tree.value, tree.slice]
    elif isinstance(tree, ast.Name | ast.Attribute):
        nodes = [tree]
    found = []
    for node in nodes:
        if isinstance(node, ast.Constant | ast.Slice | ast.Tuple | ast.UnaryOp) or not _is_quiet(node):
            continue
        try:
            found.append((ast.unparse(node), place.value(node)))
        except Exception:  # it may be what failed
            continue
    return found


METHODS = {
    "T",
    "shape",
    "transpose",
    "swapaxes",
    "reshape",
    "sum",
    "mean",
    "astype",
    "copy",
    "ravel",
    "max",
    "min",
    "dot",
}


def _is_quiet(node: ast.expr) -> bool:
    """Whether working an expression out once more has no effect: names, numbers, and the usual methods of arrays."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            name = getattr(one.func, "attr", "")
            numpy = isinstance(one.func, ast.Attribute) and getattr(one.func.value, "id", "") in ("np", "math")
            if name not in METHODS and not numpy and "forward" not in (name or getattr(one.func, "id", "")):
                return False
        elif isinstance(one, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom | ast.Lambda):
            return False
    return True


def _is_module(place: Place, node: ast.expr) -> bool:
    try:
        return inspect.ismodule(place.value(node))
    except Exception:
        return False


def written_in_place(seen: Seen, error: BaseException) -> str:
    """An input is written into. Inputs are handed over read-only, so that it shows."""
    if not (isinstance(error, ValueError) and "read-only" in str(error)):
        return ""
    place = place_of(error, seen.answers)
    name = _written_name(seen, error, place)
    line = f"`{place.text}` writes" if place else "The function writes"
    return (
        f"{line} into {name or 'an array'} that belongs to the caller, who still needs it: an input, or a part of one. "
        "Make a new array (y = x * 2, not x *= 2) or write into a copy."
    )


def _written_name(seen: Seen, error: BaseException, place: Place | None) -> str:
    if place is None:
        return ""
    match = re.match(r"\s*(\w+)\s*(\[|[-+*/@%]+=|\*\*=)", place.text)
    return f"{match[1]}, an array" if match else ""


def cache_and_signature(seen: Seen, error: BaseException) -> str:
    """A forward that returns no pair; a cache of other parts than backward unpacks; a function of other inputs."""
    if isinstance(error, TypeError | ValueError) and not list(learners_frames(error, seen.answers)):
        for which, name in enumerate(seen.exercise.functions):
            if found := _wrong_signature(seen, which, name):
                return found
        if len(seen.exercise.functions) > 1:
            for which, value in seen.returns_of(0):
                if which == 0 and not (isinstance(value, tuple) and len(value) == 2) and value is not None:
                    return (
                        f"{seen.exercise.functions[0]} returned {words_for(value)}: a forward returns a pair, its "
                        "output and the cache with what backward will need."
                    )
    place = place_of(error, seen.answers) if _is_the_learners(seen, error) else None
    match = re.match(r"(not enough|too many) values to unpack \(expected (\d+)(?:, got (\d+))?\)", str(error))
    if match and isinstance(error, ValueError) and place:
        what, count = _right_side(place), match[3] or "more"
        try:
            count = str(len(place.value(ast.parse(what, mode="eval").body))) if what.isidentifier() else count
        except Exception:  # it may have no length
            count = "another number of"
        extra = " It is what your forward put there." if what == "cache" and len(seen.exercise.functions) > 1 else ""
        return (
            f"{match[2]} names stand on the left of the =, and {what} has {count} parts: there must be as many names "
            f"as parts.{extra}"
        )
    return ""


def _right_side(place: Place) -> str:
    """What is unpacked in the line of an error: what stands behind the =, or "the right side"."""
    source = linecache.getline(place.frame.f_code.co_filename, place.frame.f_lineno).strip()
    with contextlib.suppress(SyntaxError):
        (one,) = ast.parse(source).body
        if isinstance(one, ast.Assign):
            return ast.unparse(one.value)
    return "the right side"


def _is_the_learners(seen: Seen, error: BaseException) -> bool:
    """Whether the learner's own line raised the error, and not a function that it called."""
    frames = list(learners_frames(error, seen.answers))
    return bool(frames) and frames[-1][1].tb_next is None


def _wrong_signature(seen: Seen, which: int, name: str) -> str:
    tree = seen.definitions[which]
    reference = seen.exercise.reference
    theirs = reference[which] if isinstance(reference, tuple) else reference
    try:
        asked = list(inspect.signature(theirs).parameters.values())
    except (TypeError, ValueError):
        return ""
    needed = [one for one in asked if one.default is inspect.Parameter.empty]
    if tree is None or tree.args.vararg or any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in asked):
        return ""
    given = len(tree.args.args)
    least = given - len(tree.args.defaults)
    if given < len(needed) or least > len(asked):
        inputs = ", ".join(one.name for one in asked)
        return (
            f"{name} takes {given} inputs, and the exercise hands it {len(needed)}: ({inputs}). Look at its first line."
        )
    return ""


def shapes_that_failed(seen: Seen, error: BaseException) -> str:
    """Two shapes that do not fit, with the expression and the shapes that met in it."""
    if not about_shapes(error):
        return ""
    place = place_of(error, seen.answers)
    if place is None:
        return "Two shapes do not fit. Write down the shape of each factor: the inner sizes must be equal."
    arrays = [(text, value) for text, value in _operands(place) if isinstance(value, np.ndarray)]
    met = ", ".join(f"{text} is {value.shape}" for text, value in arrays)
    product = isinstance(place.tree, ast.BinOp) and isinstance(place.tree.op, ast.MatMult)
    product = product or any(word in place.text for word in ("matmul", "dot("))
    rule = "Two shapes do not fit. Write down the shape of each factor."
    if product and len(arrays) == 2 and all(value.ndim for _, value in arrays):
        left, right = (value.shape for _, value in arrays)
        if len(right) == 1 or len(left) == 1 or left[-1] != right[-2]:
            inner = right[0] if len(right) == 1 else right[-2]
            rule = f"A product needs equal inner sizes; here they are {left[-1]} and {inner}."
        else:
            rule = "The inner sizes agree, but the axes before the last two do not. They are not part of the product."
    elif isinstance(place.tree, ast.BinOp) and len(arrays) == 2:
        rule = (
            "Element by element, shapes are compared from the last axis: each size must be the same, or 1. (The matrix "
            "product is @.)"
        )
    return f"In `{place.text}`: {met}. {rule}" if met else f"In `{place.text}` two shapes do not fit. {rule}"


def about_shapes(error: BaseException | None) -> bool:
    words = ("matmul", "shapes", "broadcast", "aligned")
    return isinstance(error, ShapeError) or (
        isinstance(error, ValueError) and any(word in str(error) for word in words)
    )


# Words of a message -> what it means. The first that fits is taken.
MEANINGS: tuple[tuple[type[BaseException], str, str], ...] = (
    (IndexError, r"index (-?\d+) is out of bounds for axis (\d+) with size (\d+)",
     "{at} asks for index {1} along an axis of size {3}: the indices there run from 0 to {3} - 1."),
    (IndexError, r"too many indices", "{at} has more indices than the array has axes."),
    (IndexError, r"list index out of range|tuple index out of range", "{at} asks for an element past the end."),
    (IndexError, r"only integers, slices", "{at} uses an index that is not a whole number: / gives a float."),
    (TypeError, r"'float' object cannot be interpreted as an integer|slice indices must be integers",
     "{at} needs a whole number and got a float: / always gives a float, // gives a whole number."),
    (TypeError, r"'[A-Z]\w+' object is not callable",
     "{at} calls an object that is not a function. A layer or a model has methods for it: forward and backward."),
    (TypeError, r"'(tuple|list|numpy.ndarray|int|float|numpy.float64|str|dict)' object is not callable",
     "{at} calls something that is not a function: round brackets call, square brackets index. Is an operator "
     "missing?"),
    (TypeError, r"'(builtin_function_or_method|method|function)' object is not (subscriptable|iterable)",
     "{at} uses the function itself: it must be called, with round brackets."),
    (TypeError, r"only (length-1|0-dimensional|size-1) arrays can be converted",
     "{at} works on one number and got an array: the functions of math take numbers, those of np take arrays."),
    (TypeError, r"unsupported operand type\(s\).*'(builtin_function_or_method|method|function)'",
     "{at} computes with a function itself: it must be called, with round brackets."),
    (TypeError, r"'bitwise_xor' not supported|unsupported operand type\(s\) for \^",
     "{at}: ^ is not a power in Python. A power is written **."),
    (TypeError, r"Cannot interpret '(\d+)' as a data type",
     "{at} takes its second input for a dtype: a shape of several sizes is one input, a tuple in its own brackets."),
    (TypeError, r"NoneType",
     "{at} uses the value None: a function without a return gives that, and so does list.append or sort, which change "
     "the list and return nothing."),
    (TypeError, r"can't multiply sequence|can only concatenate|unsupported operand type\(s\) for .*(list|tuple)",
     "{at} computes with a list or a tuple as a whole: make an array of it, or use its parts."),
    (TypeError, r"list indices must be integers|tuple indices must be integers",
     "{at} indexes a list or a tuple like an array: only an array takes several indices."),
    (ValueError, r"truth value of an array", "{at} asks for one truth value, but an array has one for each element: "
     "if, and, or, not, and Python's max and min do that. np.where, &, |, ~ and np.maximum work element by element."),
    (ValueError, r"cannot reshape array of size (\d+) into shape (\(.*\))",
     "{at} makes shape {2} of {1} elements: the sizes must multiply to {1}. (-1 stands for one size that follows.)"),
    (ValueError, r"axes don't match array|axes must be|repeated axis",
     "{at} must name every axis of the array once; how many does it have?"),
    (ValueError, r"axis (\d+) is out of bounds for array of dimension (\d+)",
     "{at} names axis {1} of an array of {2} axes: they are numbered from 0."),
    (ValueError, r"setting an array element with a sequence|inhomogeneous",
     "{at} puts an array where one number belongs, or makes one array of parts whose shapes differ."),
    (ValueError, r"math domain error", "{at}: a root or a logarithm of a number that has none."),
    (TypeError, r"Cannot cast ufunc '(\w+)' output from dtype\('(\w+)'\) to dtype\('(\w+)'\)",
     "{at} writes {2} into an array of {3}, which would lose what comes after the point: make the array of floats."),
    (TypeError, r"missing (\d+) required positional argument", "{at} calls a function with too few inputs."),
    (TypeError, r"takes (\d+) positional arguments? but (\d+)", "{at} calls a function with {2} inputs; it takes {1}."),
    (ZeroDivisionError, r"", "{at} divides by zero on these inputs."),
    (OverflowError, r"", "{at} makes a number too large for a float: exp of what?"),
    (RecursionError, r"", "The function calls itself without end."),
    (KeyError, r"(.*)", "{at}: there is no key {1}."),
)  # fmt: skip


def meaning(seen: Seen, error: BaseException) -> str:
    """Python's and NumPy's usual messages in plain words, with the expression that raised them."""
    place = place_of(error, seen.answers)
    at = f"`{place.text}`" if place else "The function"
    for kind, words, said in MEANINGS:
        if isinstance(error, kind) and (match := re.search(words, _text(error))):
            parts = {str(number): match[number] for number in range(1, (match.re.groups or 0) + 1)}
            shapes = [f"{text} is {words_for(value)}" for text, value in _operands(place)] if place else []
            tail = f" Here {', '.join(shapes)}." if shapes and kind is not KeyError else ""
            return _fill(said, at, parts) + tail
    return ""


def _text(error: BaseException) -> str:
    return message_of(error).partition(": ")[2]


def _fill(said: str, at: str, parts: dict[str, str]) -> str:
    for number, text in parts.items():
        said = said.replace("{" + number + "}", text or "")
    return said.replace("{at}", at)


SURE = (written_in_place, cache_and_signature, pair_not_unpacked, name_misspelt)
EXPLAINED = (shapes_that_failed, meaning)
