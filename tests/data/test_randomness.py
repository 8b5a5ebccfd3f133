"""The same key gives the same numbers; different keys different ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer.data.randomness import PURPOSES, generator
from tinymixer.errors import ConfigError

keys = st.tuples(
    st.integers(0, 2**64), st.sampled_from(sorted(PURPOSES)), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
)


@given(keys)
def test_the_same_key_gives_the_same_numbers(key):
    np.testing.assert_array_equal(generator(*key).random(5), generator(*key).random(5))


@given(keys, keys)
def test_different_keys_give_different_numbers(one, other):
    same = generator(*one).integers(0, 2**63, 4).tolist() == generator(*other).integers(0, 2**63, 4).tolist()
    assert same == (one == other)


def test_a_large_seed_is_not_taken_for_a_seed_and_a_step():
    # As plain entropy, [2**32, ...] and [0, 1, ...] would be the same words.
    assert generator(2**32, "init").random() != generator(0, "order").random()


def test_the_streams_are_what_they_always_were():
    # A change here breaks the reproducibility of every run there is.
    assert generator(0, "init").integers(0, 1000, 3).tolist() == [455, 602, 928]
    assert generator(7, "order", epoch=2, step=3).integers(0, 1000, 3).tolist() == [71, 545, 745]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((-1, "init"), "The seed of a random generator must be 0 or more, got -1"),
        ((0, "order", -2), "The epoch .* got -2"),
        ((0, "order", 0, 2**32), "The step of a random generator must be less than 4,294,967,296"),
        ((0, "orders"), "'orders' is not a purpose .* Did you mean 'order'?"),
    ],
)
def test_a_bad_key_is_refused(key, message):
    with pytest.raises(ConfigError, match=message):
        generator(*key)
