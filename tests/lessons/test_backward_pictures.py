"""The backward passes in steps: what the sentences say is what a second computation finds."""

import re

import numpy as np
import pytest

from tinymixer.lessons.backward_pictures import gelu_steps, layer_norm_steps, linear_steps, loss_steps

X = np.array([[1.0, 2, -1], [3, 0, 2]])
WEIGHT = np.array([[1.0, 0, 2, -1], [-1, 3, 1, 0], [0, 1, -2, 2]])
DY = np.array([[1.0, -2, 0, 1], [2, 1, -1, 3]])


def test_each_sum_of_linear_is_worked_out_and_right():
    said = [words for _, words in linear_steps(X, WEIGHT, DY)]
    sums = [re.search(r"\b(d\w+)\[([\d, ]+)\].*: (.+) = (-?\d+)\.$", words) for words in said]
    found = {(match[1], tuple(map(int, match[2].split(", ")))): match for match in sums if match}
    assert len(found) == 5
    expected = {"dx": DY @ WEIGHT.T, "dweight": X.T @ DY, "dbias": DY.sum(axis=0)}
    for (name, index), match in found.items():
        assert re.fullmatch(r"[-\d+* ()]+", match[3])
        assert eval(match[3]) == float(match[4]) == expected[name][index]


def test_each_slope_of_gelu_is_that_of_small_steps():
    x, dy = np.array([-3.0, -1, 0, 1, 3]), np.array([1.0, 2, 3, -1, 1])
    said = [words for _, words in gelu_steps(x, dy)]

    def gelu(number):
        return 0.5 * number * (1 + np.tanh(np.sqrt(2 / np.pi) * (number + 0.044715 * number**3)))

    assert len(said) == 7
    for number, slope_above, words in zip(x, dy, said[1:-1], strict=True):
        slope = (gelu(number + 1e-5) - gelu(number - 1e-5)) / 2e-5
        told = re.search(r"the slope (\S+), so .* = (\S+)\.$", words)
        assert abs(float(told[1]) - slope) < 6e-4
        assert abs(float(told[2]) - slope_above * slope) < 6e-4


def test_the_terms_of_layer_norm_are_those_of_small_steps():
    x, scale, dy = np.array([10.0, 2, 4, 4]), np.array([1.0, 2, 1, 1]), np.array([2.0, -1, 1, 3])
    said = [words for _, words in layer_norm_steps(x, scale, dy)]

    def loss(row):
        return np.sum(dy * scale * (row - row.mean()) / np.sqrt(row.var() + 1e-6))

    moves = 1e-5 * np.eye(4)
    dx = [(loss(x + move) - loss(x - move)) / 2e-5 for move in moves]
    told = re.search(r"dx = \((.+?)\)", said[-1])[1]
    assert np.allclose([float(number) for number in told.split(", ")], dx, atol=6e-3)
    assert "the mean of g, 1," in said[2]
    assert "mean of g * x_hat is 1." in said[3]


def test_the_gradient_of_the_loss_is_that_of_small_steps():
    logits = np.array([2.0, 1, 0, -1])
    said = [words for _, words in loss_steps(logits, label=1, batch=2)]

    def loss(row):
        return (np.log(np.sum(np.exp(row))) - row[1]) / 2

    dlogits = [(loss(logits + move) - loss(logits - move)) / 2e-5 for move in 1e-5 * np.eye(4)]
    told = re.search(r"dlogits = \((.+?)\)", said[-1])[1]
    assert np.allclose([float(number) for number in told.split(", ")], dlogits, atol=6e-3)
    assert "-log 0.24 = 1.44" in said[2]


@pytest.mark.parametrize(
    "steps",
    [
        linear_steps(X[:1], WEIGHT[:, :2], DY[:1, :2]),
        gelu_steps(np.array([0.5]), np.array([1.0])),
        layer_norm_steps(np.array([1.0, 2, 4]), np.ones(3), np.array([1.0, 0, 0])),
        loss_steps(np.array([0.0, 3]), label=0, batch=1),
    ],
    ids=["linear", "gelu", "layer norm", "loss"],
)
def test_other_numbers_do_too_and_the_pictures_keep_their_size(steps):
    assert len({tuple(figure.get_size_inches()) for figure, _ in steps}) == 1
    assert all(re.search(r"[.)]$", words) for _, words in steps)
