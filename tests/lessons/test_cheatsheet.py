"""The lines of lessons/cheatsheet.md as they stand there: gradient-checked, and equal to the package's operations."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.gradcheck import check_operation
from tinymixer.ops.normal_distribution import normal_cdf

SHEET = (Path(__file__).parents[2] / "lessons" / "cheatsheet.md").read_text(encoding="utf-8")
WORLD = {
    "np": np,
    "a": math.sqrt(2 / math.pi),
    "Phi": normal_cdf,
    "phi": lambda x: np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
    "f": np.sin,
}
normal = np.random.default_rng(0).standard_normal
KEEP = normal((4, 3, 5)) > 0
ROW, COLUMN = np.divmod(np.arange(6), 3)  # tokens of a grid of 2 x 3 patches
NEAR = np.maximum(abs(ROW[:, None] - ROW), abs(COLUMN[:, None] - COLUMN)) <= 1
SIDE_BY_SIDE = {"B": 2, "P": 2, "C": 3, "down": 2, "across": 3, "stride": 2}  # windows of 2 x 2 over 4 x 6 pixels

# name -> the inputs that are differentiated by, and the constants
INPUTS = {
    "linear": ({"x": normal((4, 3)), "weight": normal((3, 2)), "bias": normal(2)}, {}),
    "token_linear": ({"x": normal((4, 2, 3)), "weight": normal((5, 4)), "bias": normal(5)}, {}),
    "gelu_tanh": ({"x": 2 * normal((3, 4))}, {}),
    "gelu_erf": ({"x": 2 * normal((3, 4))}, {}),
    "layer_norm": ({"x": normal((4, 5)), "scale": normal(5), "bias": normal(5)}, {}),
    "softmax_cross_entropy": ({"logits": normal((3, 4))}, {"target": np.eye(4)[[1, 3, 0]]}),
    "images_to_patches": ({"x": normal((2, 4, 6, 3))}, {"B": 2, "P": 2, "down": 2, "across": 3, "channels": 3}),
    "images_to_windows": (
        {"x": normal((2, 4, 6, 3))},
        {
            "P": 2,
            "overlap": 1,
            "B": 2,
            "Q": 4,
            "down": 2,
            "across": 3,
            "channels": 3,
            "rows": np.array([[1, 0, 1, 2], [1, 2, 3, 2]]),
            "columns": np.array([[1, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 4]]),
        },
    ),
    "layer_scale": ({"x": normal((4, 5)), "scale": normal(5)}, {}),
    "gate": ({"x": normal((3, 4)), "gate": normal((3, 4))}, {}),
    "mean_over_tokens": ({"x": normal((4, 2, 3))}, {}),
    "pool_tokens": ({"x": normal((6, 2, 3))}, {"near": NEAR}),
    "dropout": ({"x": normal((4, 3, 5))}, {"keep": KEEP, "rate": 0.25}),
    "drop_path": ({"x": normal((4, 3, 5))}, {"keep": KEEP[0, :, 0], "rate": 0.25}),
    "convolution": (
        {"x": normal((2, 4, 5, 2)), "weight": normal((3, 2, 2, 3)), "bias": normal(3)},
        {"sliding": np.lib.stride_tricks.sliding_window_view, "kh": 3, "kw": 2},
    ),
    "max_pooling": ({"x": normal((2, 4, 6, 3))}, SIDE_BY_SIDE),
    "average_pooling": ({"x": normal((2, 4, 6, 3))}, SIDE_BY_SIDE),
    "global_average_pooling": ({"x": normal((2, 4, 6, 3))}, {}),
    "relu": ({"x": normal((3, 4))}, {}),
    "batch_norm": ({"x": normal((5, 4)), "scale": normal(4), "bias": normal(4)}, {}),
    "batch_norm_inference": (
        {"x": normal((5, 4)), "scale": normal(4), "bias": normal(4)},
        {"mean": normal(4), "variance": normal(4) ** 2},
    ),
    "group_norm": (
        {"x": normal((2, 3, 2, 4)), "scale": normal(4), "bias": normal(4)},
        {"B": 2, "C": 4, "G": 2},
    ),
    "weight_standardisation": ({"weight": normal((3, 2, 2, 3))}, {}),
    "scaled_weight_standardisation": ({"weight": normal((3, 2, 2, 3)), "gain": normal(3)}, {"N": 12}),
    "softmax": ({"x": normal((3, 4))}, {}),
    "self_attention": ({"qkv": normal((3, 2, 12))}, {"S": 3, "B": 2, "heads": 2, "D": 2}),
    "relative_attention": (
        {"qkv": normal((1, 2, 2, 12)), "r_height": normal((3, 2)), "r_width": normal((3, 2))},
        {"heads": 2, "B": 1, "S": 4, "D": 2, "h": np.array([0, 0, 1, 1]), "w": np.array([0, 1, 0, 1])},
    ),
    "position_embedding": ({"x": normal((4, 2, 3)), "embedding": normal((4, 3))}, {}),
    "prepend_class_token": ({"x": normal((4, 2, 3)), "token": normal(3)}, {}),
    "take_class_token": ({"x": normal((4, 2, 3))}, {}),
    "residual": ({"x": normal((3, 4))}, {}),
    "used_twice": ({"x": normal((2, 3)), "weight": normal((3, 3))}, {}),
    "broadcast": ({"x": normal((4, 3)), "bias": normal(3)}, {}),
    "transposition": ({"x": normal((2, 3, 4))}, {}),
    "one_element_many_times": ({"x": normal(4)}, {"index": np.array([0, 2, 2, 1])}),
}
OPERATIONS = [name for name in INPUTS if hasattr(ops, f"{name}_forward")]


def _rows():
    for line in SHEET.splitlines():
        if found := re.match(r"\| \*\*(\w+)\*\*", line):
            columns = [column.strip() for column in line.strip("|").split(" | ")]
            yield found[1], _code(columns[1]), _code(columns[2])


def _code(column):
    return "\n".join(re.findall(r"`([^`]+)`", column))


ROWS = {name: SimpleNamespace(forward=forward, backward=backward) for name, forward, backward in _rows()}


def _pair(name):
    row, (inputs, constants) = ROWS[name], INPUTS[name]

    def forward(*values):
        names = WORLD | constants | dict(zip([*inputs, *constants], values, strict=False))
        names["f_backward"] = lambda dy: dy * np.cos(names["x"])
        exec(row.forward, names)
        return np.array(names["y"]), names

    def backward(dy, cache):
        names = dict(cache, dy=dy)
        exec(row.backward, names)
        gradients = tuple(np.array(names[f"d{key}"]) for key in inputs)
        return gradients if len(gradients) > 1 else gradients[0]

    return forward, backward, inputs, constants


@pytest.mark.parametrize("name", INPUTS)
def test_the_gradient_on_the_sheet_is_right(name):
    forward, backward, inputs, _ = _pair(name)
    report = check_operation(forward, backward, *inputs.values(), name=name)
    wrong = [row for row in report.failures if row.check in ("jacobian", "random cotangent", "directions", "elements")]
    assert not wrong, str(report)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_sheet_agrees_with_the_package(name):
    forward, backward, inputs, constants = _pair(name)
    names = ("target", "keep", "rate", "mean", "variance", "G", "heads", "P", "overlap", "stride")
    extra = [constants[key] for key in names if key in constants]
    extra += [(2, 3)] if "near" in constants else []  # the grid
    y, cache = getattr(ops, f"{name}_forward")(*inputs.values(), *extra)
    mine, my_cache = forward(*inputs.values())
    np.testing.assert_allclose(mine, y, rtol=1e-12, atol=1e-12)
    dy = normal(np.shape(y))
    theirs, ours = getattr(ops, f"{name}_backward")(dy, cache), backward(dy, my_cache)
    for one, other in zip(*(value if isinstance(value, tuple) else (value,) for value in (ours, theirs)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("logits", [[1000, 999], [-1000, -1001], [0, 200], [0, 1e30], [-1e30, 1e30], [700, -700]])
def test_the_loss_on_the_sheet_never_overflows(logits):
    for dtype in (np.float32, np.float64):
        z, target = np.array([logits], dtype), np.eye(2, dtype=dtype)[[0]]
        forward, backward, _, _ = _pair("softmax_cross_entropy")
        loss, cache = forward(z, target)
        dlogits = backward(1.0, cache)
        right_loss, right_gradient = ops.softmax_cross_entropy(z, target)
        np.testing.assert_allclose(loss, right_loss, rtol=1e-6)
        np.testing.assert_allclose(dlogits, right_gradient, rtol=1e-6, atol=1e-30)


def test_every_operation_of_the_package_is_on_the_sheet():
    pairs = {name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")}
    assert pairs <= set(ROWS)
    assert set(ROWS) == set(INPUTS)
