"""Points without a derivative, edges of a domain, uneven scales: right passes there pass, wrong ones do not."""

import numpy as np
import pytest

from tinymixer.gradcheck import check_operation

RNG = np.random.default_rng(31)
SHUFFLING = np.random.default_rng(32)


def relu(x):
    return np.maximum(x, 0), x


def relu_backward(dy, x):
    return dy * (x > 0)


def after_relu(*shape):
    return np.maximum(RNG.standard_normal(shape), 0)


def pool(x):
    windows = x.reshape(*x.shape[:-1], -1, 4)
    return windows.max(-1), windows


def pool_backward(dy, windows):
    """The gradient goes to the first of the largest."""
    first = np.arange(4) == windows.argmax(-1)[..., None]
    return (first * dy[..., None]).reshape(*dy.shape[:-1], -1)


def pool_backward_shared(dy, windows):
    most = windows == windows.max(-1, keepdims=True)
    return (
        (most / most.sum(-1, keepdims=True).astype(dy.dtype) * dy[..., None])
        .astype(dy.dtype)
        .reshape(*dy.shape[:-1], -1)
    )


def pool_backward_to_all(dy, windows):
    """Wrong: every one of the largest receives all of it."""
    return ((windows == windows.max(-1, keepdims=True)) * dy[..., None]).reshape(*dy.shape[:-1], -1)


def sort(x):
    order = np.argsort(x, -1, kind="stable")
    return np.take_along_axis(x, order, -1), order


def sort_backward(dy, order):
    dx = np.empty_like(dy)
    np.put_along_axis(dx, order, dy, -1)
    return dx


def clip(x):
    return np.clip(x, 0, 1), x


def clip_backward(dy, x):
    return dy * ((x >= 0) & (x <= 1))


def guarded_loss(p):
    if (p < 0).any() or (p > 1).any():
        raise ValueError("probabilities must lie in 0..1")
    return -np.log(p + 0.5), p


RIGHT = {
    "relu, all zeros": (relu, relu_backward, np.zeros((6, 5))),
    "relu after relu, large": (relu, relu_backward, after_relu(40, 30)),
    "relu below a product": (
        lambda x: (np.maximum(x, 0) @ np.ones((30, 2), x.dtype), x),
        lambda dy, x: (x > 0) * (dy @ np.ones((2, 30), dy.dtype)),
        after_relu(40, 30),
    ),
    "max pool, ties": (pool, pool_backward, np.round(RNG.standard_normal((4, 8)))),
    "max pool, ties, large": (pool, pool_backward, after_relu(30, 16)),
    "max pool, ties shared": (pool, pool_backward_shared, np.round(RNG.standard_normal((4, 8)))),
    "max pool, ties shared, large": (pool, pool_backward_shared, after_relu(30, 16)),
    "sort, three equal": (sort, sort_backward, np.array([[1.0, 1.0, 1.0, 0.0], [2.0, 0.0, 2.0, 0.0]])),
    "clip of black and white, large": (clip, clip_backward, RNG.integers(0, 2, (20, 20)).astype(float)),
    "absolute value at 0": (lambda x: (abs(x), x), lambda dy, x: dy * np.sign(x), np.array([0.0, 0.0, -1.0])),
    "guarded near its edge": (guarded_loss, lambda dy, p: -dy / (p + 0.5), np.array([0.2, 0.999])),
    "guarded at its edges": (guarded_loss, lambda dy, p: -dy / (p + 0.5), np.array([0.0, 0.4, 1.0])),
    "logarithm over ten decades": (lambda x: (np.log(x), x), lambda dy, x: dy / x, 10.0 ** np.arange(-10.0, 1.0)),
    "square root over decades": (
        lambda x: (np.sqrt(x), x),
        lambda dy, x: dy / (2 * np.sqrt(x)),
        np.array([1e-12, 1e-8, 1e-4, 0.01, 1.0, 4.0]),
    ),
    "sum in random order": (
        lambda x: (x[SHUFFLING.permutation(len(x))].sum(0), x.shape),
        lambda dy, shape: np.broadcast_to(dy, shape).copy(),
        RNG.standard_normal((50, 3)),
    ),
    "float32 alone": (
        lambda x: (x.astype("float32") ** 2, x.astype("float32")),
        lambda dy, x: 2 * x * dy.astype("float32"),
        RNG.standard_normal((3, 4)),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_backward_passes(name):
    report = check_operation(*RIGHT[name])
    assert report.passed, str(report)


WRONG = {
    "ties doubled": (pool, pool_backward_to_all, np.round(RNG.standard_normal((4, 8)))),
    "ties doubled, large": (pool, pool_backward_to_all, after_relu(30, 16)),
    "beside kinks": (relu, lambda dy, x: dy * (x != 0), after_relu(40, 30) - (RNG.random((40, 30)) < 0.2)),
    "half of a maximum": (pool, lambda dy, c: 0.5 * pool_backward(dy, c), after_relu(24, 16)),
    "sorted backwards": (sort, lambda dy, order: sort_backward(dy, order[:, ::-1]), np.array([[1.0, 1.0, 1.0, 0.0]])),
    "slope beyond both sides": (
        lambda x: (abs(x), x),
        lambda dy, x: dy * np.where(x == 0, 1.5, np.sign(x)),
        np.zeros(3),
    ),
    "a jump is no kink": (lambda x: (np.where(x > 0, 1.0, 0.0) + x, x), lambda dy, x: dy.copy(), np.array([0.0, 1.0])),
    "float32 alone, wrong": (
        lambda x: (x.astype("float32") ** 2, x.astype("float32")),
        lambda dy, x: 1.01 * 2 * x * dy.astype("float32"),
        RNG.standard_normal((3, 4)),
    ),
    "one of 1,200 off by 1e-5": (
        lambda x: (x * x, x),
        lambda dy, x: 2 * dy * x * np.where(np.arange(1200).reshape(40, 30) == 523, 1 + 1e-5, 1),
        RNG.standard_normal((40, 30)),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_backward_is_caught(name):
    assert not check_operation(*WRONG[name]).passed


def test_differing_last_bits_can_be_refused():
    x = RNG.standard_normal((50, 3))
    report = check_operation(*RIGHT["sum in random order"][:2], x, nondeterminism=0)
    assert {"same answer twice"} <= {row.check for row in report.failures}
