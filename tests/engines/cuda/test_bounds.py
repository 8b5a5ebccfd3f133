"""The pure comparison: what is within the bound, and what is not."""

import numpy as np
import pytest

from tinymixer.engines.cuda.bounds import ALONG, FACTOR, compare, compare_change

EXACT = np.random.default_rng(0).standard_normal(400)
NOISE = np.random.default_rng(1).standard_normal(400)


def passed(comparisons):
    return all(comparison.passed for comparison in comparisons)


@pytest.mark.parametrize(("times", "right"), [(0.0, True), (1.0, True), (3.9, True), (4.1, False), (40.0, False)])
def test_an_array_may_be_four_times_as_far_away_as_the_layers(times, right):
    unfused = [EXACT + 1e-3 * NOISE, EXACT + 0.5e-3 * NOISE]  # the larger counts
    assert passed(compare("gradient", EXACT + times * 1e-3 * NOISE, EXACT, unfused, 0.0, 100)) is right
    assert FACTOR == 4


def test_a_gradient_that_is_zero_may_be_as_far_away_as_its_terms_are_rounded():
    exact = np.zeros(400)
    for times, right in ((3.9, True), (4.1, False)):
        found = times * NOISE / np.linalg.norm(NOISE)
        assert passed(compare("gradient", found, exact, [exact], 1.0, 100)) is right


def test_five_per_cent_are_found_where_rounding_explains_more():
    """Noise of 3 % allows a distance of 12 %; a factor of 1.05 changes the length, which noise does not."""
    unfused = [EXACT + 0.03 * NOISE]
    for factor, right in ((1.0, True), (1.02, True), (1.05, False), (0.95, False)):
        found = factor * EXACT + 0.03 * np.random.default_rng(2).standard_normal(400)
        assert passed(compare("gradient", found, EXACT, unfused, 0.0, 100)) is right
    assert ALONG == 0.025


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_right(wrong):
    found = EXACT.copy()
    found[7] = wrong
    (worst, *_) = compare("gradient of head.bias", found, EXACT, [EXACT + NOISE], 1.0, 100)
    assert not worst.passed
    assert "what is no number" in worst.sentence()


def test_a_bound_that_is_no_number_lets_nothing_pass():
    assert not passed(compare("gradient", EXACT, EXACT, [np.full(400, np.nan)], 0.0, 100))


def test_nothing_of_nothing_is_right():
    nothing = np.zeros(3)
    assert passed(compare("gradient", nothing, nothing, [nothing], 0.0, 100))
    assert not passed(compare("gradient", nothing + 1e-30, nothing, [nothing], 0.0, 100))


def test_a_change_is_compared_beside_the_rounding_of_the_weights():
    before = 100 * EXACT.astype(np.float32)
    exact = before - 0.01 * NOISE
    assert compare_change("update", before, exact.astype(np.float32), exact, 1e-3).passed
    assert not compare_change("update", before, (before - 0.0105 * NOISE).astype(np.float32), exact, 1e-3).passed
    assert not compare_change("update", before, before, exact, 1e-3).passed
    assert compare_change("update", before, before, before, 1e-3).passed
