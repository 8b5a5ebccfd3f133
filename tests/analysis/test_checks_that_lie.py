"""The experiment of lesson 03: each flawed gradient check lets through what it is there to show, and little else."""

import numpy as np
import pytest

from tinymixer import ops
from tinymixer.analysis.checks_that_lie import NAIVE_CHECKS, numerical_gradient, relative_error, share_caught


@pytest.fixture(scope="module")
def table():
    return share_caught(runs=3)


def missed_by(check, table):
    return {fault for fault, row in table.items() if row[check] < 1}


def test_the_numerical_gradient_is_that_of_a_right_backward():
    generator = np.random.default_rng(0)
    x, dy = generator.normal(size=(2, 3)), generator.normal(size=(2, 3))
    _, cache = ops.gelu_tanh_forward(x)
    assert relative_error(numerical_gradient(ops.gelu_tanh_forward, x, dy), ops.gelu_tanh_backward(dy, cache)) < 1e-8


def test_a_relative_error_has_a_floor():
    assert relative_error(np.array([0.0, 2.0]), np.array([1e-12, 2.0])) < 1e-8
    assert relative_error(np.array([1.0, 2.0]), np.array([1.0, -2.0])) == 2.0
    assert np.isnan(relative_error(np.ones(2), np.array([1.0, np.nan])))


def test_the_package_catches_every_fault_and_a_plain_check_all_but_the_dtype(table):
    assert len(table) >= 30
    assert missed_by("check_operation", table) == set()
    assert missed_by("random dy", table) == {"gelu_tanh: float64 from a constant"}


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("fresh parameters", "layer_norm: scale forgotten in dx"),
        ("fresh, dy of ones", "layer_norm: variance term missing"),
        ("dy equal to x", "linear: weight gradient transposed"),
        ("one index", "linear: last element left out"),
        ("float32", "linear: one corner slightly off"),
    ],
)
def test_each_flaw_lets_its_fault_through(check, fault, table):
    assert table[fault][check] == 0
    assert table[fault]["random dy"] == 1
    assert len(missed_by(check, table)) < len(table) / 2


def test_all_checks_stand_in_the_table(table):
    assert all(list(row) == [*(check.name for check in NAIVE_CHECKS), "check_operation"] for row in table.values())
