"""Schedules over drawn peaks, lengths and warm-ups."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.errors import ConfigError
from tinymixer.optim import constant, cosine, linear, make_schedule, trapezoid


@st.composite
def numbers_that_work(draw):
    """(peak, total_steps, warmup_steps, final) that work."""
    total = draw(st.integers(1, 300))
    peak = draw(st.floats(1e-6, 10))
    return peak, total, draw(st.integers(0, total)), draw(st.floats(0, peak))


names = st.sampled_from(["constant", "cosine", "linear", "trapezoid"])


@settings(deadline=None)
@given(names, numbers_that_work())
def test_warm_up_is_linear_and_starts_at_a_share_of_the_peak(name, numbers):
    peak, total, warmup, final = numbers
    schedule = make_schedule(name, peak, total, warmup, final)
    for step in range(warmup):
        assert schedule(step) == pytest.approx(peak * (step + 1) / warmup)
    if warmup < total:
        assert schedule(warmup) == pytest.approx(peak)


@settings(deadline=None)
@given(names, numbers_that_work())
def test_after_the_warm_up_the_rate_never_rises_and_stays_between_peak_and_final(name, numbers):
    peak, total, warmup, final = numbers
    schedule = make_schedule(name, peak, total, warmup, final)
    rates = [schedule(step) for step in range(warmup, total + 2)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(rates))
    assert all(final * (1 - 1e-12) <= rate <= peak * (1 + 1e-12) for rate in rates)
    assert rates[-1] == pytest.approx(peak if name == "constant" else final, abs=1e-12 * peak)


def test_known_values():
    assert [linear(1.0, 4)(step) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert [constant(2.0, 4, 2)(step) for step in range(5)] == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert cosine(1.0, 4)(1) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert cosine(1.0, 4, final=0.5)(2) == pytest.approx(0.75)
    assert cosine(1.0, 6, 2)(4) == pytest.approx(0.5)
    plateau = trapezoid(1.0, 10, 2, cooldown_share=0.4)
    assert [plateau(step) for step in range(11)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    assert [trapezoid(1.0, 4, cooldown_share=1.0)(s) for s in range(5)] == [linear(1.0, 4)(s) for s in range(5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cosin", 1.0, 10), "Did you mean 'cosine'"),
        (("cosine", 1.0, 0), "at least one step"),
        (("cosine", 1.0, 10, 11), "warmup_steps must lie between 0 and total_steps"),
        (("cosine", 1.0, 10, -1), "warmup_steps must lie between 0 and total_steps"),
        (("linear", 1.0, 10, 0, 2.0), "0 <= final <= peak"),
        (("linear", math.nan, 10), "0 <= final <= peak"),
        (("constant", math.inf, 10), "0 <= final <= peak"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_schedule(*arguments)


def test_steps_are_counted_from_zero():
    with pytest.raises(ConfigError, match="counted from 0"):
        linear(1.0, 4)(-1)
