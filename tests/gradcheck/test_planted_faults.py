"""The checker is itself checked: with backward passes that are wrong, each of which it must catch."""

import numpy as np
import pytest

from tinymixer.gradcheck import check_operation
from tinymixer.gradcheck.planted_faults import PLANTED_FAULTS
from tinymixer.gradcheck.planted_faults.layer_norm import variance_term_missing
from tinymixer.ops import layer_norm_forward

BY_NAME = {fault.name: fault for fault in PLANTED_FAULTS}

# Faults that the numbers of a gradient cannot show, and the check that must.
CONTRACT = {
    "gradient written into dy": "dy untouched",
    "cache used up": "cache untouched",
    "input overwritten by the forward": "inputs untouched",
    "gradient is dy itself": "gradients own their memory",
    "output is a view of the input": "output owns its memory",
    "cache kept outside": "stale cache",
    "another answer each time": "same answer twice",
    "gradient clipped on the way": "linear in dy",
    "strides ignored": "any strides",
    "float64 from a constant": "dtype kept",
    "gradient overwritten": "gradients added",
    "cache kept on self": "stale cache",
    "weights updated in the backward": "values untouched",
    "padding written to": "padding untouched",
    "fresh mask in the backward": "same answer twice",
    "upstream gradient ignored": "linear in dy",
    "gradient in a buffer used again": "results kept",
    "one array for two gradients": "gradients own their memory",
    "gradient clipped where the input is large": "inputs larger",
    "symmetric weight not transposed": "inputs moved",
    "last columns left out": "odd size",
    "tie given to everyone": "directions",
    "divided by zero at the kink": "zeros among inputs",
    "broadcast dy read as if whole": "any strides",
    "bias gradient not returned": "gradients",
    "bias gradient not summed": "gradients",
}


def test_the_list_is_long_and_every_fault_says_what_it_is():
    assert len(PLANTED_FAULTS) >= 40
    assert len(BY_NAME) == len(PLANTED_FAULTS)
    assert all(len(fault.mistake) > 20 and fault.mistake.endswith(".") for fault in PLANTED_FAULTS)
    assert set(CONTRACT) <= set(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_planted_fault_is_caught(name, record_property):
    fault = BY_NAME[name]
    report = fault.check()
    caught_by = list(dict.fromkeys(row.check for row in report.failures))
    worst = report.failures[0].error if report.failures else float("nan")
    checks = ", ".join(caught_by) or "MISSED"
    record_property("planted fault", f"{fault.operation:<29} {fault.name:<44} {worst:>8.1e}  {checks}")
    assert not report.passed, f"not caught: {fault.mistake}"
    if name in CONTRACT:
        assert CONTRACT[name] in caught_by


@pytest.mark.parametrize("name", BY_NAME)
def test_the_right_backward_passes_where_the_fault_was_caught(name):
    report = BY_NAME[name].check_without()
    if report is None:
        pytest.skip("a broken contract, with no right counterpart in tinymixer.ops")
    assert report.passed, str(report)


@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("name", BY_NAME)
def test_a_fault_is_caught_whatever_the_draw(name, seed):
    assert not BY_NAME[name].check(seed).passed


def test_all_ones_do_not_see_a_missing_term_and_random_numbers_do():
    """The sentence of the documentation about LayerNorm's third term, measured."""
    generator = np.random.default_rng(0)
    x, scale, bias = generator.normal(size=(4, 8)), np.ones(8), np.zeros(8)

    def off_by(dy):
        expected, step = np.zeros(x.shape), 1e-5
        for index in np.ndindex(*x.shape):
            moved = np.zeros(x.shape)
            moved[index] = step
            above, below = (layer_norm_forward(x + sign * moved, scale, bias)[0] for sign in (1, -1))
            expected[index] = np.sum(dy * (above - below)) / (2 * step)
        got, _, _ = variance_term_missing(dy, layer_norm_forward(x, scale, bias)[1])
        return np.abs(expected - got).max()

    assert off_by(np.ones(x.shape)) < 1e-9
    assert off_by(generator.normal(size=x.shape)) > 1


def test_inputs_drawn_from_the_seed_of_the_checker_do_not_become_the_cotangent():
    """With dy = x the weight gradient x^T dy is symmetric, and a swapped transpose passes."""
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((6, 5))
        seen = []

        def backward(dy, x, seen=seen):
            seen.append(np.array(dy))
            return 2 * x * dy

        check_operation(lambda x: (x * x, x), backward, x, seed=seed)
        assert not any(np.allclose(dy, x) for dy in seen)
