"""Faults that the inputs hide, layouts, buffers, states; and right operations at whose borders nothing is said."""

import random

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.gradcheck import check_layer, check_operation

RNG = np.random.default_rng(41)
X = RNG.standard_normal((3, 4))


def square(x):
    return x * x, x


def square_backward(dy, x):
    return 2 * dy * x


def product(x, w):
    return x @ w, (x, w)


def untransposed(dy, cache):
    x, w = cache
    return dy @ w, x.T @ dy


def odd(dy, x):
    dx = 2 * dy * x
    dx[..., x.shape[-1] // 4 * 4 :] = 0
    return dx


def unless_gapped(dy, x):
    gapped = dy.strides[0] > dy.shape[1] * dy.itemsize and dy.strides[1] == dy.itemsize
    return 2 * dy * x * (1.5 if gapped else 1)


def only_float32(factor, when=lambda dy: True):
    return lambda dy, x: 2 * dy * x * (np.float32(factor) if x.dtype == np.float32 and when(dy) else 1)


def drawing(dy, x):
    random.random()
    return 2 * dy * x


CAUGHT = {
    "symmetric weight": (product, untransposed, (X, np.eye(4)), "inputs moved"),
    "zero weight": (
        product,
        lambda dy, c: (7 * dy @ c[1].T, c[0].T @ dy),
        (X, np.zeros((4, 3))),
        "inputs moved",
    ),
    "large inputs": (square, lambda dy, x: 2 * dy * np.clip(x, -3, 3), (X,), "inputs larger"),
    "NaN at 0": (lambda x: (abs(x), x), lambda dy, x: dy * x / abs(x), (X,), "zeros among inputs"),
    "batch of one": (
        lambda x, b: (x + b, len(x)),
        lambda dy, n: (dy.copy(), dy.sum(0) * (1 if n > 1 else 2)),
        (X, RNG.standard_normal(4)),
        "batch of one",
    ),
    "squeezed": (
        lambda x: (x * 2, x),
        lambda dy, x: np.squeeze(dy * 2),
        (X,),
        "batch of one",
    ),
    "odd size": (square, odd, (X,), "odd size"),
    "large dy": (square, lambda dy, x: 2 * np.clip(dy, -1e3, 1e3) * x, (X,), "linear in dy"),
    "dy of stride 0": (square, lambda dy, x: 2 * x * dy * (3 if 0 in dy.strides else 1), (X,), "any strides"),
    "dy with gaps": (square, unless_gapped, (X,), "any strides"),
    "float32": (square, only_float32(1.00005), (X,), "float32 against float64"),
    "float32, strided": (
        square,
        only_float32(1.001, lambda dy: not dy.flags.c_contiguous),
        (X,),
        "float32 against float64",
    ),
    "random state": (square, drawing, (X,), "random state untouched"),
    "one gradient for two": (
        lambda a, b: (a + b, None),
        lambda dy, c: (dy.copy(),) * 2,
        (X, X + 1),
        "gradients own their memory",
    ),
    "one cache for one backward": (
        lambda x: (x * x, iter([x])),
        lambda dy, cache: 2 * dy * next(cache),
        (X,),
        "same answer twice",
    ),
}


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_fault_that_the_inputs_hide_is_caught(name):
    forward, backward, inputs, check = CAUGHT[name]
    report = check_operation(forward, backward, *inputs)
    assert check in {row.check for row in report.failures}, str(report.table(details=True))


@pytest.mark.parametrize("name", ["symmetric weight", "large inputs", "batch of one"])
def test_without_variations_such_a_fault_passes(name):
    forward, backward, inputs, _ = CAUGHT[name]
    assert check_operation(forward, backward, *inputs, vary=False).passed


def test_an_answer_that_changes_after_many_calls_is_caught():
    calls = []

    def backward(dy, x):
        calls.append(1)
        return 2 * dy * x * (1 if len(calls) < 100 else 1.1)

    assert "same answer later" in {row.check for row in check_operation(square, backward, X).failures}


def test_results_that_the_next_call_overwrites_are_caught():
    buffers = {}

    def backward(dy, x):
        buffer = buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
        return np.multiply(dy, 2 * x, out=buffer)

    assert "results kept" in {row.check for row in check_operation(square, backward, X).failures}


def test_a_forward_in_the_other_mode_must_leave_a_cache_alone():
    class Layer:
        def forward(self, x, train=False):
            self.train = train
            return x * (2 if train else 1), None

        def backward(self, dy, cache):
            return dy * (2 if self.train else 1)

    for train in (True, False):
        assert "stale cache" in {row.check for row in check_layer(Layer(), X, train).failures}


def indexed_loss(x, labels):
    """No error for a label beyond the classes: it counts for nothing."""
    one_hot = (labels[:, None] == np.arange(x.shape[1])).astype(x.dtype)
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return -np.sum(one_hot * np.log(p)) / len(x), (p, one_hot)


WEIGHT = RNG.standard_normal((3, 1)).astype("float32")
MASK = RNG.random((3, 4)) > 0.5
QUIET = {
    "labels beyond the classes left": (
        indexed_loss,
        lambda dy, c: dy * (c[0] - c[1]) / len(c[0]),
        (X, np.array([0, 3, 1])),
    ),
    "rows that sum to 1": (
        ops.softmax_cross_entropy_forward,
        ops.softmax_cross_entropy_backward,
        (X, np.full((3, 4), 0.25), 0.1),
        {"differentiate": [0]},
    ),
    "a mask of the shape given": (lambda x: ((x * MASK).sum(0), None), lambda dy, c: np.where(MASK, dy, 0 * dy), (X,)),
    "a domain above 0": (
        lambda x: (np.log(x) * np.sqrt(x), x),
        lambda dy, x: dy * (2 + np.log(x)) / (2 * np.sqrt(x)),
        (abs(X),),
    ),
    "deviation over the batch": (
        lambda x: (x.std(0), x),
        lambda dy, x: dy * (x - x.mean(0)) / (len(x) * x.std(0)),
        (X,),
    ),
    "mixing with an array not given": (
        lambda x: (np.broadcast_to((WEIGHT * x).sum(0), x.shape).copy(), None),
        lambda dy, c: WEIGHT * dy.sum(0),
        (X,),
    ),
    "exponentials": (lambda x: (np.exp(x), x), lambda dy, x: dy * np.exp(x), (100 * X,)),
}


@pytest.mark.parametrize("name", QUIET)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_where_a_forward_cannot_follow_nothing_is_said(name):
    forward, backward, inputs, *options = QUIET[name]
    report = check_operation(forward, backward, *inputs, **(options[0] if options else {}))
    assert report.passed, str(report)


def test_a_large_input_is_varied_on_request_alone():
    x = RNG.standard_normal((200, 150))
    varied = {"inputs moved", "inputs larger", "zeros among inputs", "batch of one"}
    assert not varied & {row.check for row in check_operation(square, square_backward, x, samples=2).rows}
    report = check_operation(square, square_backward, x, samples=2, vary=True)
    assert varied <= {row.check for row in report.rows}
    assert report.passed, str(report)
