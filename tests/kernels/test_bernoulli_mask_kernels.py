"""Bernoulli masks drawn by the kernels: those of `tinymixer.draws`, bit for bit; emulated on the CPU, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import MULTIPROCESSORS, Call, f32, few, i32, i64, numbers, widths
from tests.kernels.formats import assert_close, rounded, unpacked
from tinymixer.draws import Draws, threshold
from tinymixer.engines.cuda.bernoulli_masks import (
    branch_limits,
    branch_places,
    branch_rates,
    dropout_place,
    hidden_shape,
    step_key,
)
from tinymixer.kernels import launch as layouts
from tinymixer.models import MixerConfig

pytestmark = pytest.mark.usefixtures("machine")
seeds = st.integers(0, 2**70)


@numbers
@few
@given(
    seed=seeds, rows=st.integers(1, 9), first=st.integers(0, 40), images=st.integers(1, 5), columns=st.integers(1, 65),
    rate=st.sampled_from([0.0, 0.1, 0.3, 0.999]),
)  # fmt: skip
def test_dropout(number, seed, rows, first, images, columns, rate):
    call, shape = Call(), (rows, images, columns)
    values = rounded(call.rng.standard_normal(shape), number).astype(np.float64)
    found = call.in_place(values, number)
    vector = widths(number, columns)
    call.run(
        f"dropout<{number}, {vector}>", layouts.striding(values.size, vector, MULTIPROCESSORS), found,
        call.input(step_key(seed, 2, 7)), np.uint32(dropout_place(3, "channel")), i32(first), i32(images),
        i32(columns), i64(values.size), np.uint32(threshold(1 - rate)), f32(1 / (1 - rate)),
    )  # fmt: skip
    draws = Draws(seed, 2, 7, first + np.arange(images))
    keep = draws.at("blocks.3.channel_mixing.dropout").bernoulli(1 - rate, shape, 1)
    kept = unpacked(found.array, number)
    np.testing.assert_array_equal(kept != 0, keep & (values != 0))
    assert_close(kept, values * keep / (1 - rate), number)


@few
@given(seed=seeds, images=st.integers(1, 20), drop_path=st.sampled_from([0.0, 0.3, 0.6]))
def test_branches_are_dropped_as_the_layers_would(seed, images, drop_path):
    call, rates = Call(), branch_rates(3, drop_path)
    factors = call.output((6, images))
    call.run(
        "branch_factors<float>", layouts.flat(6 * images), call.input(step_key(seed, 2, 7)),
        call.input(branch_places(3)), call.input(branch_limits(3, drop_path)), call.input(rates), factors, i32(6),
        i32(images),
    )  # fmt: skip
    draws = Draws(seed, 2, 7, np.arange(images))
    for branch, rate in enumerate(rates):
        place = f"blocks.{branch // 2}.{('token', 'channel')[branch % 2]}_mixing.drop_path"
        keep = draws.at(place).bernoulli(1 - (branch // 2) * drop_path / 2, (images,))
        np.testing.assert_allclose(factors.array[branch], keep / (1 - rate), rtol=1e-6)


def test_the_sizes_of_hidden_layers():
    config = MixerConfig(image_size=8, hidden_dim=3, tokens_mlp_dim=5, channels_mlp_dim=7)
    assert hidden_shape(config, "token", 9) == (5, 9, 3)
    assert hidden_shape(config, "channel", 9) == (4, 9, 7)
