"""Changes to an expression: another operator, other brackets, a factor transposed, another number, a part left out.

Each function takes a node and yields what may stand in its place, with the sentence for the learner.
"""

import ast
from collections.abc import Iterator
from typing import Any

Found = tuple[Any, str]

BRACKETS = (
    "In `{here}` the brackets are missing or in the wrong place: Python does products first, then goes left to right."
)


def binary(left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.BinOp:
    return ast.BinOp(left, operator, right)


OPERATORS: tuple[tuple[type[ast.operator], type[ast.operator], str], ...] = (
    (ast.FloorDiv, ast.Div, "`{here}` divides with //, which drops what comes after the point. A plain / keeps it."),
    (ast.Div, ast.FloorDiv, "`{here}` makes a fraction where a whole number, rounded down, belongs."),
    (ast.Mult, ast.MatMult, "`{here}` multiplies element by element (NumPy broadcasts what it can); a matrix product "
     "belongs there."),
    (ast.MatMult, ast.Mult, "`{here}` is a matrix product, but the elements should be multiplied one by one."),
    (ast.Add, ast.Sub, "In `{here}` the sign of the second part is wrong."),
    (ast.Sub, ast.Add, "In `{here}` the sign of the second part is wrong."),
    (ast.Mult, ast.Div, "`{here}` multiplies where it should divide."),
    (ast.Div, ast.Mult, "`{here}` divides where it should multiply."),
    (ast.Mult, ast.Add, "`{here}` multiplies where the two should be added."),
    (ast.Add, ast.Mult, "`{here}` adds where the two should be multiplied."),
    (ast.BitXor, ast.Pow, "`{here}`: ^ is not a power in Python. A power is written **."),
    (ast.Mod, ast.FloorDiv, "`{here}` takes the remainder where the quotient belongs."),
    (ast.FloorDiv, ast.Mod, "`{here}` takes the quotient where the remainder belongs."),
)  # fmt: skip


def other_operator(node: ast.AST) -> Iterator[Found]:
    """Another operator, or the two sides exchanged."""
    if not isinstance(node, ast.BinOp):
        return
    plain = isinstance(node.right, ast.Constant) and node.right.value == 1
    for old, new, said in OPERATORS:
        if isinstance(node.op, old) and not (plain and new in (ast.Mult, ast.Div)):
            yield binary(node.left, new(), node.right), said
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow | ast.FloorDiv | ast.Mod):
        yield binary(node.right, node.op, node.left), "The two sides of `{here}` have changed places."


def everywhere(old: type[ast.operator], new: type[ast.operator], said: str) -> Any:
    """The same other operator at all places at once."""

    def change(node: ast.AST) -> Iterator[Found]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, old):
            yield binary(node.left, new(), node.right), said

    return change


EVERYWHERE = [
    everywhere(old, new, said.replace("`{here}`", "`{here}` and the like"))
    for old, new, said in (
        (ast.FloorDiv, ast.Div, "// drops what comes after the point: `{here}` should keep it."),
        (ast.Div, ast.FloorDiv, "A fraction comes from `{here}` where a whole number, rounded down, belongs."),
        (ast.Mult, ast.Div, "What is multiplied in `{here}` should be divided."),
        (ast.Mult, ast.MatMult, "Elements are multiplied one by one in `{here}`, but matrix products belong there."),
        (ast.Sub, ast.Add, "The sign of the second part is wrong in `{here}`."),
    )
]


def quotients_for_remainders(node: ast.AST) -> Iterator[Found]:
    """// and % exchanged everywhere."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod):
        new = ast.Mod() if isinstance(node.op, ast.FloorDiv) else ast.FloorDiv()
        yield binary(node.left, new, node.right), "Quotient (//) and remainder (%) have changed places, as in `{here}`."


def brackets(node: ast.AST) -> Iterator[Found]:
    """Brackets set or taken away, so that an operator takes in more or less."""
    if not isinstance(node, ast.BinOp):
        return
    left, right, op = node.left, node.right, node.op
    if isinstance(left, ast.BinOp) and not isinstance(op, ast.MatMult):
        yield binary(left.left, left.op, binary(left.right, op, right)), BRACKETS
        if isinstance(left.op, ast.Div) and isinstance(op, ast.Mult | ast.Sub | ast.Add):
            new = ast.Mult() if isinstance(op, ast.Mult) else op
            yield binary(left.left, ast.Div(), binary(left.right, new, right)), BRACKETS
    if isinstance(right, ast.BinOp) and not isinstance(op, ast.MatMult):
        yield binary(binary(left, op, right.left), right.op, right.right), BRACKETS
    if isinstance(op, ast.Mult | ast.Div):
        yield from _drawn_in(node)
    if isinstance(op, ast.MatMult) and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Add | ast.Sub):
        yield binary(binary(left, op, right.left), right.op, right.right), BRACKETS
    if isinstance(op, ast.Add | ast.Sub):
        yield from _drawn_out(node)


def _drawn_in(node: ast.BinOp) -> Iterator[Found]:
    """a * (b - c): the factor belongs to one of the two only."""
    for sum_, factor in ((node.right, node.left), (node.left, node.right)):
        if isinstance(sum_, ast.BinOp) and isinstance(sum_.op, ast.Add | ast.Sub):
            if isinstance(node.op, ast.Div) and sum_ is node.right:
                continue
            yield binary(sum_.left, sum_.op, binary(sum_.right, node.op, factor)), BRACKETS
            yield binary(binary(sum_.left, node.op, factor), sum_.op, sum_.right), BRACKETS


def _drawn_out(node: ast.BinOp) -> Iterator[Found]:
    """a * b - c: the factor a belongs to both; so in a sum of several terms."""
    terms: list[ast.BinOp] = []
    first: ast.expr = node
    while isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add | ast.Sub):
        terms.insert(0, first)
        first = first.left
    if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mult | ast.Div):
        inner = first.right if isinstance(first.op, ast.Mult) else first.left
        for term in terms:
            inner = binary(inner, term.op, term.right)
        if isinstance(first.op, ast.Mult):
            yield binary(first.left, first.op, inner), BRACKETS
        else:
            yield binary(inner, first.op, first.right), BRACKETS
    if len(terms) > 1:
        before, last = terms[-2], terms[-1]
        if isinstance(before.right, ast.BinOp) and isinstance(before.right.op, ast.Mult):
            inner = binary(before.right.right, last.op, last.right)
            yield binary(before.left, before.op, binary(before.right.left, ast.Mult(), inner)), BRACKETS


def product(node: ast.AST) -> Iterator[Found]:
    """A matrix product with a factor transposed, or no longer transposed, or both and in the other order."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, "In `{here}` the .T is one too many: the array belongs there as it is."
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("dot", "matmul") and len(node.args) == 2:
        left, right = node.args
        pairs = [(turned(left), right), (left, turned(right)), (right, left), (turned(right), left)]
        for one, other in [*pairs, (right, turned(left)), (turned(left), turned(right))]:
            said = "The factors of `{here}` are not the right way round: must one be transposed, or is the order wrong?"
            yield ast.Call(node.func, [one, other], node.keywords), said
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)):
        return
    left, right = node.left, node.right
    said = "In `{here}` a factor must be transposed: write down both shapes, and the shape that must come out."
    yield binary(turned(left), node.op, right), said
    yield binary(left, node.op, turned(right)), said
    yield binary(turned(left), node.op, turned(right)), said
    yield (
        ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "outer", ast.Load()), [left, right], []),
        "`{here}` adds up the products to one number, but the product of every pair is needed.",
    )
    said = "The factors of `{here}` are in the wrong order, and one is transposed that should not be, or the reverse."
    yield binary(turned(right), node.op, left), said
    yield binary(right, node.op, turned(left)), said
    yield binary(turned(right), node.op, turned(left)), "`{here}` is the transpose of what is asked for."


def turned(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else ast.Attribute(node, "T", ast.Load())


def one_off(node: ast.AST) -> Iterator[Found]:
    """A + 1 or - 1 too many or missing."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        if isinstance(node.right, ast.Constant) and node.right.value == 1:
            yield node.left, f"`{{here}}` is one off: the {sign} 1."
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len":
        yield binary(node, ast.Sub(), ast.Constant(1)), "In `{line}` {here} is one too many."


def constant(node: ast.AST) -> Iterator[Found]:
    """Another number: one more, one less, the other sign, half, twice."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        if isinstance(node.slice, ast.Constant):
            for other in range(4):
                if other != node.slice.value:
                    new = ast.Subscript(node.value, ast.Constant(other), ast.Load())
                    yield new, "`{here}` in `{line}` is the length of the wrong axis."
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand, "The minus sign in `{here}` is one too many."
        return
    if not (isinstance(node, ast.Constant) and type(node.value) in (int, float, bool)):
        return
    value: Any = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value), "{here} in `{line}` should be the opposite."
        return
    near = [value + 1, value - 1] if isinstance(value, int) else []
    steps = [1e-5, 1e-30] if isinstance(value, float) and 0 < value <= 0.1 else []
    digits = [value * 10, value / 10] if isinstance(value, float) else []
    for new in [*near, -value, 2 * value, value / 2, value * value, 3 * value, *steps, *digits]:
        if new != value:
            yield ast.Constant(new), "The number {here} in `{line}` is not the right one there."


COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt, ast.GtE),
    ast.LtE: (ast.Lt, ast.GtE, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt, ast.LtE),
    ast.GtE: (ast.Gt, ast.LtE, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def comparison(node: ast.AST) -> Iterator[Found]:
    """A comparison the other way round, or with or without its = sign."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for number, new in enumerate(COMPARISONS.get(type(node.ops[0]), ())):
            at_the_edge = number == 0 and not isinstance(node.ops[0], ast.Eq | ast.NotEq)
            said = (
                "`{here}` decides wrongly where both sides are equal: with or without the = sign?"
                if at_the_edge
                else "The comparison `{here}` is the wrong way round."
            )
            yield ast.Compare(node.left, [new()], node.comparators), said


def condition(node: ast.AST) -> Iterator[Found]:
    """A mask or a condition negated."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield node.operand, "`{here}` should not be negated."
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body), "The two ways of `{here}` have changed places."
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield ast.UnaryOp(ast.Invert(), node), "{here} in `{line}` is used the wrong way round: what does True mean?"
        rest = binary(ast.Constant(1), ast.Sub(), node)
        yield rest, "In `{line}` {here} stands where its complement to 1 belongs."
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and getattr(node.left, "value", None) == 1:
        yield node.right, "In `{line}` the complement to 1, `{here}`, does not belong there."


def part_dropped(node: ast.AST) -> Iterator[Found]:
    """A term or a factor that does not belong there."""
    if isinstance(node, ast.BinOp):
        sides = [(node.left, node.right)]
        if not isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.FloorDiv):
            sides.append((node.right, node.left))
        for kept, dropped in sides:
            yield kept, f"In `{{here}}` the part {ast.unparse(dropped)} does not belong there."


def constant_dropped(node: ast.AST) -> Iterator[Found]:
    """A number as a factor or a term that does not belong there."""
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and not isinstance(node.op, ast.Sub):
        yield node.left, f"In `{{here}}` the {ast.unparse(node.right)} does not belong there."
    if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and isinstance(node.op, ast.Mult):
        yield node.right, f"In `{{here}}` the {ast.unparse(node.left)} does not belong there."


def subscript(node: ast.AST) -> Iterator[Found]:
    """In square brackets: a value where its place is asked for, columns of every row, a mask that picks out."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load | ast.Store)):
        return
    inner = node.slice
    if isinstance(node.ctx, ast.Load) and isinstance(inner, ast.Name):
        yield inner, "`{here}` is the value at that place, but the place itself is asked for."
        yield (
            binary(node.value, ast.Mult(), inner),
            "`{here}` picks some elements out and makes a shorter array of them, but the shape should stay.",
        )
    if isinstance(inner, ast.Tuple) and len(inner.elts) == 2 and isinstance(inner.elts[0], ast.Slice):
        columns = inner.elts[1]
        if isinstance(columns, ast.Name | ast.Call) and inner.elts[0].lower is inner.elts[0].upper is None:
            numpy = ast.Attribute(ast.Name("np", ast.Load()), "arange", ast.Load())
            rows = ast.Call(numpy, [ast.Call(ast.Name("len", ast.Load()), [columns], [])], [])
            new = ast.Subscript(node.value, ast.Tuple([rows, columns], ast.Load()), node.ctx)
            yield (
                new,
                "`{here}` takes these columns of every row. But each row has its own column: pair rows and columns.",
            )
