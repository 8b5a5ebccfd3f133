"""A balanced split parts the images, and early stopping sees only what came before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer.analysis.validation import balanced_split, early_stop
from tinymixer.data import load_dataset
from tinymixer.errors import ConfigError


@given(labels=st.lists(st.integers(0, 4), max_size=60), share=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_every_image_is_in_one_part_and_every_class_gives_its_share(labels, share, seed):
    labels = np.array(labels, dtype=np.int64)
    training, validation = balanced_split(labels, share, seed)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    for label in np.unique(labels):
        assert np.sum(labels[validation] == label) == round(share * np.sum(labels == label))


def test_the_seed_decides():
    labels = load_dataset("digits").train_labels
    first, again, other = (balanced_split(labels, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigError, match="share"):
        balanced_split(np.zeros(3, np.int64), share)


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3, 2, 1], 1, (2, 2)),  # still falling at the end
        ([3, 2, 4, 5, 1], 2, (1, 3)),  # the dip after the stop is never seen
        ([3, 2, 4, 1, 5, 5], 2, (3, 5)),  # an improvement restarts the count
        ([3, 2, 2, 2, 2], 2, (1, 3)),  # equal is no improvement
        ([1, 2], 5, (0, 1)),
        ([1], 1, (0, 0)),
    ],
)
def test_early_stop(losses, patience, expected):
    assert early_stop(losses, patience) == expected


@pytest.mark.parametrize(("losses", "patience"), [([], 2), ([1.0, 2.0], 0)])
def test_early_stop_refuses_what_makes_no_sense(losses, patience):
    with pytest.raises(ConfigError, match="patience"):
        early_stop(losses, patience)
