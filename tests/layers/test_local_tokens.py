"""token_init = "local": each unit of token mixing acts on neighbouring patches at first, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymixer import MixerConfig, MlpMixer
from tinymixer.layers.initialisation import homes

CONFIG = {"patch_size": 4, "hidden_dim": 8, "num_blocks": 2, "tokens_mlp_dim": 512}


@pytest.fixture(scope="module")
def both():
    """The weights of a model with local and with lecun token mixing, from the same seed."""
    return [
        MlpMixer(MixerConfig(**CONFIG, token_init=init), seed=4).parameters.to_numpy() for init in ("local", "lecun")
    ]


def test_only_token_mixing_differs(both):
    local, lecun = both
    differing = {name for name in lecun if not np.array_equal(local[name], lecun[name])}
    assert differing == {f"blocks.{i}.token_mixing.weight{k}" for i in (0, 1) for k in (1, 2)}


def test_the_norms_are_those_of_lecun_normal(both):
    """Sums of squares over a unit's weights: 1 for weight1 on average, S / DS for weight2."""
    for axis, name, expected in ((1, "weight1", 1.0), (0, "weight2", 64 / 512)):
        for arrays in both:
            squares = (arrays[f"blocks.0.token_mixing.{name}"].astype("f8") ** 2).sum(axis=axis)  # (DS,)
            assert squares.mean() == pytest.approx(expected, rel=0.06)
    at_the_border = np.isin(homes((8, 8), 512) // 8, (0, 7))
    squares = (both[0]["blocks.0.token_mixing.weight1"].astype("f8") ** 2).sum(axis=1)
    assert squares[at_the_border].mean() == pytest.approx(1, rel=0.1)


def test_the_mass_is_around_the_home(both):
    rows, columns = np.divmod(np.arange(64), 8)
    home = homes((8, 8), 512)
    distance = np.hypot(rows[home][:, None] - rows, columns[home][:, None] - columns)  # (DS, S)
    for name, turned in (("weight1", False), ("weight2", True)):
        shares = []
        for arrays in both:
            weight = arrays[f"blocks.1.token_mixing.{name}"].astype("f8")
            squares = (weight.T if turned else weight) ** 2  # (DS, S)
            shares.append(squares[distance < 2.1].sum() / squares.sum())
        assert shares[0] > 0.97  # exp(-d^2) beyond two patches
        assert shares[1] < 0.25  # 13 of 64 patches, fewer at the border


@given(down=st.integers(1, 6), across=st.integers(1, 6), units=st.integers(1, 80))
def test_homes_are_on_the_grid_and_all_are_used_equally_often(down, across, units):
    found = homes((down, across), units)
    counts = np.bincount(found, minlength=down * across)
    assert len(found) == units
    assert len(counts) == down * across
    assert counts.max() - counts.min() <= 1


def test_few_units_are_spread_over_the_whole_grid():
    rows, columns = np.divmod(homes((8, 8), 9), 8)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns) + 100 * np.eye(9)
    assert apart.min() >= 3
