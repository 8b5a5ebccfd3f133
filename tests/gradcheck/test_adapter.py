"""Parameters kept in every usual way are found and checked; what is not understood is named; all is put back."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from tinymixer.gradcheck import GradientCheckError, NotCheckableError, Report, check_layer
from tinymixer.gradcheck.report import Row

RNG = np.random.default_rng(51)
X = RNG.standard_normal((3, 4))


def weight():
    return RNG.standard_normal((4, 2))


class Linear:
    """y = x W; a subclass says where W and its gradient are. `factor` makes the gradient wrong."""

    factor = 1.0

    def forward(self, x):
        return x @ self.value(), x

    def backward(self, dy, x):
        self.give(self.factor * x.T @ dy)
        return dy @ self.value().T


class Attributes(Linear):
    def __init__(self):
        self.W, self.dW = weight(), None

    def value(self):
        return self.W

    def give(self, gradient):
        self.dW = gradient


class UnderscoredAttributes(Linear):
    def __init__(self):
        self.weight, self.weight_grad = weight(), np.zeros((4, 2))

    def value(self):
        return self.weight

    def give(self, gradient):
        self.weight_grad += gradient


class Dicts(Linear):
    def __init__(self):
        self.params, self.grads = {"W": weight()}, {}

    def value(self):
        return self.params["W"]

    def give(self, gradient):
        self.grads["W"] = gradient


class OneDict(Linear):
    def __init__(self):
        self.store = {"W": weight(), "dW": np.zeros((4, 2))}

    def value(self):
        return self.store["W"]

    def give(self, gradient):
        self.store["dW"] = self.store["dW"] + gradient


class Lists(Linear):
    def __init__(self):
        self.params, self.grads = [weight()], [np.zeros((4, 2))]

    def value(self):
        return self.params[0]

    def give(self, gradient):
        self.grads[0][...] = gradient


class Objects(Linear):
    def __init__(self):
        self.w = SimpleNamespace(value=weight(), grad=None)

    def value(self):
        return self.w.value

    def give(self, gradient):
        self.w.grad = gradient if self.w.grad is None else self.w.grad + gradient


class Generator(Linear):
    def __init__(self):
        self._kept = (weight(), np.zeros((4, 2)))

    def params_and_grads(self):
        yield self._kept

    def value(self):
        return self._kept[0]

    def give(self, gradient):
        self._kept[1][...] += gradient


class Part:
    def __init__(self, inner):
        self.layers = [inner]

    def forward(self, x):
        y, cache = self.layers[0].forward(x)
        return 2 * y, cache

    def backward(self, dy, cache):
        return self.layers[0].backward(2 * dy, cache)


@dataclass
class Slots(Linear):
    w: np.ndarray = field(default_factory=weight)
    grad_w: np.ndarray = field(default_factory=lambda: np.zeros((4, 2)))

    def value(self):
        return self.w

    def give(self, gradient):
        self.grad_w += gradient


WAYS = [Attributes, UnderscoredAttributes, Dicts, OneDict, Lists, Objects, Generator, Slots]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_parameter_is_found_checked_and_put_back(way, nested):
    layer = way()
    before = layer.value().copy()
    report = check_layer(Part(layer) if nested else layer, X)
    assert report.passed, str(report)
    (parameter,) = [one for one in report.checked if one.parameter]
    assert parameter.elements == 8
    assert parameter.name.startswith("layers[0].") or not nested or way is Generator
    assert before.tobytes() == layer.value().tobytes()
    layer.factor = 3.0
    failures = check_layer(Part(layer) if nested else layer, X).failures
    assert failures
    assert any(parameter.name in row.where for row in failures)


def test_a_generator_is_asked_of_a_part_too():
    report = check_layer(Part(Generator()), X)
    assert "parameter" in str(report)
    assert not any(row.check == "parameters" and not row.note and not row.where for row in report.rows)


def test_what_is_checked_is_listed():
    text = str(check_layer(Attributes(), X))
    assert "checked: x (3, 4): 12 of 12 elements" in text
    assert "checked: parameter W (4, 2): 8 of 8 elements" in text
    report = check_layer(Attributes(), RNG.standard_normal((100, 4)))
    assert "directions" in report.checked[0].sentence()
    (row,) = [row for row in report.rows if row.check == "coverage"]
    assert "parameter W (4, 2)" in row.note


def test_the_gradient_of_a_number_may_be_a_number_that_is_added_to():
    class Scale:
        factor = 1.0

        def __init__(self):
            self.w, self.dw = np.array(2.0), np.float64(0)

        def forward(self, x):
            return self.w * x, x

        def backward(self, dy, x):
            self.dw = self.dw + self.factor * np.sum(dy * x)
            return self.w * dy

    layer = Scale()
    report = check_layer(layer, X)
    assert report.passed, str(report)
    assert [one.name for one in report.checked] == ["x", "w"]
    layer.factor = 2.0
    assert "w" in check_layer(layer, X).failures[0].where


def test_an_array_without_a_gradient_is_named():
    class Hidden(Linear):
        def __init__(self):
            self.kernel = weight()

        def value(self):
            return self.kernel

        def give(self, gradient):
            pass

    report = check_layer(Hidden(), X)
    (row,) = report.not_checked
    assert "no gradient was found for kernel (4, 2)" in row.note
    assert "not checked: Hidden: no gradient was found for kernel" in str(report)


def test_no_parameters_at_all_is_said():
    class Sine:
        def forward(self, x):
            return np.sin(x), x

        def backward(self, dy, x):
            return dy * np.cos(x)

    assert "no parameters were found" in str(check_layer(Sine(), X))


def test_a_cached_input_with_its_gradient_is_no_parameter():
    class Cached(Attributes):
        def forward(self, x):
            self.x = x
            return super().forward(x)

        def backward(self, dy, x):
            self.dx = super().backward(dy, x)
            return self.dx.copy()

    layer = Cached()
    layer.backward(np.ones((3, 2)), layer.forward(X)[1])
    report = check_layer(layer, X)
    assert report.passed, str(report)
    assert [one.name for one in report.checked] == ["x", "W"]


def test_replaced_gradients_are_said_and_demanded_where_they_are_promised():
    (row,) = [row for row in check_layer(Attributes(), X).rows if row.check == "gradients added"]
    assert not row.applied
    assert "replaces the gradient" in row.note

    class Promised(Linear):
        def __init__(self):
            self.parameters, self.gradients = {"W": weight()}, {"W": np.zeros((4, 2))}

        def value(self):
            return self.parameters["W"]

        def give(self, gradient):
            self.gradients["W"] = gradient

    assert [row.check for row in check_layer(Promised(), X).failures] == ["gradients added"]


def test_statistics_counters_and_generators_come_back():
    class Noisy(Attributes):
        def __init__(self):
            super().__init__()
            self.mean, self.calls, self.history = np.zeros(4), 0, []
            self.generator = np.random.default_rng(3)

        def forward(self, x, train=False):
            self.calls += 1
            self.history.append(self.calls)
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            keep = self.generator.random(x.shape) > 0.5
            return (x * keep) @ self.W, (x * keep, keep)

        def backward(self, dy, cache):
            self.dW = cache[0].T @ dy
            return dy @ self.W.T * cache[1]

    layer = Noisy()
    mean, state = layer.mean, layer.generator.bit_generator.state
    report = check_layer(layer, X, train=True)
    assert report.passed, str(report)
    assert layer.mean is mean
    assert not mean.any()
    assert (layer.calls, layer.history, layer.dW) == (0, [], None)
    assert layer.generator.bit_generator.state == state


def test_nothing_compared_is_not_passed():
    report = Report([Row("layer", (3,), "inputs untouched", 0.0)])
    assert not report.passed
    assert "nothing has passed" in str(report)
    with pytest.raises(GradientCheckError, match="no gradient was compared"):
        report.raise_if_failed()


def test_dicts_of_parameters_without_gradients_are_refused():
    layer = SimpleNamespace(
        parameters={"W": weight()}, gradients={}, forward=lambda x: (x, None), backward=lambda dy, c: dy
    )
    with pytest.raises(NotCheckableError, match=r"needs gradients\['W'\]"):
        check_layer(layer, X)
