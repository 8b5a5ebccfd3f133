"""Changes to a call: its axis, its keepdims, the order of its arguments, another function, its result unpacked."""

import ast
import itertools
from collections.abc import Iterator
from typing import Any

Found = tuple[Any, str]

REDUCTIONS = {
    "sum", "mean", "max", "min", "argmax", "argmin", "var", "std", "prod", "any", "all", "amax", "amin", "norm",
    "argsort", "cumsum", "flip", "stack", "concatenate", "repeat", "roll",
}  # fmt: skip
LOSE_AN_AXIS = {"sum", "mean", "max", "min", "var", "std", "prod", "amax", "amin", "norm"}
AXES = (0, 1, 2, -1, -2, (0, 1), (0, 2), (1, 2), (1, 2, 3), None)
OTHERS = {
    "sum": ("mean", "max"), "mean": ("sum",), "max": ("argmax", "sum", "mean", "min"), "min": ("argmin", "max"),
    "argmax": ("argmin", "max"), "argmin": ("argmax", "min"), "var": ("std",), "std": ("var",), "maximum": ("minimum",),
    "minimum": ("maximum",), "floor": ("ceil",), "ceil": ("floor",), "cos": ("sin",), "sin": ("cos",),
    "real": ("imag",), "imag": ("real",), "sqrt": ("square",), "log": ("exp",), "exp": ("log",), "vstack": ("stack",),
    "hstack": ("stack",), "concatenate": ("stack",), "stack": ("concatenate",), "dot": ("multiply",),
    "multiply": ("dot",), "add": ("subtract",), "subtract": ("add",), "choice": ("permutation",),
    "cumsum": ("sum",), "log10": ("log",), "log2": ("log",),
}  # fmt: skip
ANGLES = {"sin", "cos", "tan"}


def _name(node: ast.AST) -> str:
    """The last part of the name that a call calls."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _of_numpy(node: ast.Call) -> bool:
    value = getattr(node.func, "value", None)
    return getattr(value, "id", "") in ("np", "numpy") or getattr(value, "attr", "") == "linalg"


def _with_axis(node: ast.Call, axis: Any, keepdims: bool | None = None) -> ast.Call:
    """The same call with another axis, and keepdims set where it is not None."""
    place = (2 if _name(node) == "norm" else 1) if _of_numpy(node) else 0
    arguments = node.args[:place]
    kept = [one for one in node.keywords if one.arg != "axis" and (keepdims is None or one.arg != "keepdims")]
    if axis is not None:
        kept.append(ast.keyword("axis", ast.Constant(axis)))
    if keepdims:
        kept.append(ast.keyword("keepdims", ast.Constant(True)))
    return ast.Call(node.func, arguments, kept)


def _axis_of(node: ast.Call) -> Any:
    """The axis as it is written; None where there is none, "?" where it is no plain number or tuple of numbers."""
    place = (2 if _name(node) == "norm" else 1) if _of_numpy(node) else 0
    given = [one.value for one in node.keywords if one.arg == "axis"] + node.args[place : place + 1]
    if not given:
        return None
    try:
        return ast.literal_eval(given[0])
    except ValueError:
        return "?"


def of_axes(node: ast.AST) -> Iterator[Found]:
    """Another axis for a sum, mean, max, ...; keepdims given or taken away; both."""
    if not (isinstance(node, ast.Call) and _name(node) in REDUCTIONS):
        return
    axis, name = _axis_of(node), _name(node)
    if axis == "?":
        return
    kept = any(one.arg == "keepdims" for one in node.keywords)
    lost = "`{here}` loses its axis, so that it no longer lines up with its own rows: keep the axis with length 1."
    if name in LOSE_AN_AXIS and not kept:
        yield _with_axis(node, axis, True), lost
    if kept:
        yield _with_axis(node, axis, False), "`{here}` keeps its axis with length 1; here it should go."
    for other in AXES:
        if other != axis:
            if axis is None:
                said = "`{here}` runs over the whole array, since it is given no axis: which axis should it run over?"
            elif other is None:
                said = "`{here}` runs along one axis, but it should run over everything."
            else:
                said = "`{here}` runs over the wrong axis. Which axis should its result no longer have?"
            yield _with_axis(node, other), said
            if name in LOSE_AN_AXIS and not kept:
                said = "`{here}` runs over the wrong axis, and loses it: keep the right one, with length 1."
                if axis is None:
                    said = "`{here}` runs over the whole array: it needs an axis, and must keep it with length 1."
                yield _with_axis(node, other, True), said


def keep_axes(node: ast.AST) -> Iterator[Found]:
    """keepdims=True, at all places at once."""
    if isinstance(node, ast.Call) and _name(node) in LOSE_AN_AXIS and _axis_of(node) not in (None, "?"):
        said = (
            "`{here}` and the like lose their axis, and no longer line up with their own rows: keep it with length 1."
        )
        if not any(one.arg == "keepdims" for one in node.keywords):
            yield _with_axis(node, _axis_of(node), True), said


def lose_axes(node: ast.AST) -> Iterator[Found]:
    if isinstance(node, ast.Call) and any(one.arg == "keepdims" for one in node.keywords):
        said = "`{here}` and the like keep their axis with length 1; here it should go."
        yield _with_axis(node, _axis_of(node), False), said


def other_axes(node: ast.AST) -> Iterator[Found]:
    """The same other axis at all places at once."""
    if isinstance(node, ast.Call) and _name(node) in REDUCTIONS and (axis := _axis_of(node)) not in (None, "?"):
        said = "`{here}` and the like run over the wrong axis. Which axis should the result no longer have?"
        for other in (0, 1, 2, (0, 1), (0, 2), (1, 2), (1, 2, 3)):
            yield (node if other == axis else _with_axis(node, other)), said


def sums_for_means(node: ast.AST) -> Iterator[Found]:
    if isinstance(node, ast.Call) and _name(node) in ("sum", "mean"):
        other = "mean" if _name(node) == "sum" else "sum"
        yield _renamed(node, other), f"`{{here}}` and the like take the {_name(node)} where the {other} belongs."


def python_roots(node: ast.AST) -> Iterator[Found]:
    """float(...) around a NumPy root or constant of numbers alone, which is a NumPy scalar."""
    if isinstance(node, ast.Call) and _of_numpy(node) and _name(node) in ("sqrt", "float64", "exp", "log", "square"):
        said = (
            "`{here}` is a NumPy number, float64, and turns every array that it meets into float64. A function of math "
            "gives a Python float, which takes on the dtype of the array."
        )
        yield ast.Call(ast.Name("float", ast.Load()), [node], []), said


def of_functions(node: ast.AST) -> Iterator[Found]:
    """Another function of its kind; the call taken away; degrees for radians; a dtype where arrays are made."""
    yield from python_roots(node)
    if not isinstance(node, ast.Call):
        return
    name = _name(node)
    for other in OTHERS.get(name, ()):
        yield _renamed(node, other), f"`{{here}}` takes {name} where another function of its kind belongs."
    if name in ANGLES and node.args:
        turned = ast.BinOp(node.args[0], ast.Mult(), ast.Constant(0.017453292519943295))
        yield (
            ast.Call(node.func, [turned], []),
            "`{here}` is given degrees: sin and cos take radians, and half a turn is pi.",
        )
        turned = ast.BinOp(node.args[0], ast.Mult(), ast.Constant(3.141592653589793))
        yield ast.Call(node.func, [turned], []), "pi is missing in `{here}`: half a turn is pi."
    if len(node.args) == 1 and not node.keywords and name not in REDUCTIONS:
        yield node.args[0], f"`{{here}}`: {name} does not belong there."
    if isinstance(node.func, ast.Attribute) and not _of_numpy(node):
        yield node.func.value, f"In `{{here}}` .{name} does not belong there."
    if name == "ones" and node.args and isinstance(node.args[0], ast.Tuple) and len(node.args[0].elts) == 2:
        one = ast.Call(ast.Attribute(node.func.value, "eye", ast.Load()), [node.args[0].elts[0]], [])  # type: ignore
        yield one, "`{here}` is 1 everywhere; the unit matrix is 1 only on the diagonal."
    if name in ("zeros", "ones", "empty", "full", "eye", "arange", "array", "asarray", "identity"):
        said = "`{here}` makes an array of {was}, and what is written into it takes on that type."
        if dtypes := [one for one in node.keywords if one.arg == "dtype"]:
            rest = [one for one in node.keywords if one.arg != "dtype"]
            yield ast.Call(node.func, node.args, rest), said.replace("{was}", ast.unparse(dtypes[0].value))
        if name in ("full", "array", "arange"):
            floats = [
                *[one for one in node.keywords if one.arg != "dtype"],
                ast.keyword("dtype", ast.Name("float", ast.Load())),
            ]
            yield ast.Call(node.func, node.args, floats), said.replace("{was}", "whole numbers")


def _renamed(node: ast.Call, name: str) -> ast.Call:
    func = node.func
    new = ast.Attribute(func.value, name, ast.Load()) if isinstance(func, ast.Attribute) else ast.Name(name, ast.Load())
    return ast.Call(new, node.args, node.keywords)


def opposites(node: ast.AST) -> Iterator[Found]:
    """The largest for the smallest, everywhere."""
    other = {"max": "min", "min": "max", "argmax": "argmin", "argmin": "argmax"}.get(_name(node))
    if other and isinstance(node, ast.Call):
        kind = "largest" if "max" in _name(node) else "smallest"
        yield _renamed(node, other), f"`{{here}}` and the like look for the {kind}, where the opposite is asked for."


def of_nesting(node: ast.AST) -> Iterator[Found]:
    """np.exp(x.sum()) for np.exp(x).sum(), and the reverse."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    said = "In `{here}` the two steps are in the wrong order: which one comes first?"
    inner = node.args[0] if len(node.args) == 1 else None
    method = inner.func if isinstance(inner, ast.Call) and not _of_numpy(inner) else None
    if isinstance(inner, ast.Call) and isinstance(method, ast.Attribute) and _of_numpy(node):
        first = ast.Call(node.func, [method.value], node.keywords)
        if method.attr in LOSE_AN_AXIS:
            yield ast.Call(ast.Attribute(first, method.attr, ast.Load()), inner.args, inner.keywords), said
    inner = node.func.value
    if isinstance(inner, ast.Call) and _of_numpy(inner) and len(inner.args) == 1:
        first = ast.Call(ast.Attribute(inner.args[0], _name(node), ast.Load()), node.args, node.keywords)
        if _name(node) in LOSE_AN_AXIS and _name(inner) not in LOSE_AN_AXIS:
            yield ast.Call(inner.func, [first], inner.keywords), said


def of_pairs(node: ast.AST) -> Iterator[Found]:
    """The first of the pair that a forward returns, or of the tuple that np.nonzero returns."""
    yield from of_nesting(node)
    if isinstance(node, ast.Call) and _name(node) in ("nonzero", "where") and _of_numpy(node) and len(node.args) == 1:
        said = "`{here}` returns a tuple, with one array of indices for each axis: take the one that is needed."
        yield ast.Subscript(node, ast.Constant(0), ast.Load()), said
    if isinstance(node, ast.Call) and "forward" in _name(node):
        said = "`{here}` returns a pair, its output and the cache, but it is used here as if it were the output alone."
        yield ast.Subscript(node, ast.Constant(0), ast.Load()), said


def of_order(node: ast.AST) -> Iterator[Found]:
    """Arguments, indices or the axes of a transposition in another order; a reshape that should be a transposition."""
    if isinstance(node, ast.Call):
        name = _name(node)
        items = node.args
        if len(items) == 1 and isinstance(items[0], ast.Tuple | ast.List):
            items = items[0].elts
        moves = name in ("transpose", "moveaxis", "swapaxes", "reshape", "rollaxis")
        start = 1 if moves and _of_numpy(node) and len(node.args) > 1 else 0
        if start and len(node.args) == 2 and isinstance(node.args[1], ast.Tuple | ast.List):
            for order in _orders(node.args[1].elts):
                yield ast.Call(node.func, [node.args[0], ast.Tuple(order, ast.Load())], []), _order_said(name)
        elif 2 <= len(items) - start <= (6 if moves else 4):
            for order in _orders(items[start:]):
                yield ast.Call(node.func, [*items[:start], *order], node.keywords), _order_said(name)
        if name == "reshape" and len(items) == 2 and not start and isinstance(node.func, ast.Attribute):
            rows = ast.Call(node.func, [items[1], items[0]], [])
            said = "`{here}` counts the numbers off anew. To turn columns into rows, transpose them."
            yield ast.Attribute(rows, "T", ast.Load()), said
        if name == "swapaxes":
            fixed = items[:start]
            for pair in itertools.combinations(range(3), 2):
                axes = [ast.Constant(one) for one in pair]
                yield (
                    ast.Call(node.func, [*fixed, *axes], []),
                    "`{here}` swaps the wrong axes.",
                )
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and 2 <= len(node.elts) <= 4:
        for order in _orders(node.elts):
            yield ast.Tuple(order, ast.Load()), "The parts of `{here}` are in the wrong order."


def _orders(items: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """Other orders of these, those in which fewer change places first."""
    numbers = range(len(items))
    orders = sorted(itertools.permutations(numbers), key=lambda order: sum(one != i for i, one in enumerate(order)))
    for order in orders[1:400]:
        yield [items[one] for one in order]


def _order_said(name: str) -> str:
    if name in ("transpose", "moveaxis", "swapaxes"):
        return "`{here}` puts the axes into the wrong order: for each new axis, which old one is it?"
    if name == "reshape":
        return "The sizes in `{here}` are in the wrong order."
    return "The arguments of `{here}` are in the wrong order."


EVERYWHERE = (keep_axes, lose_axes, other_axes, sums_for_means, python_roots, opposites)
