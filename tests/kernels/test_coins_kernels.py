"""Coins thrown by the kernels: NumPy's own, to the last one; emulated on the CPU, and on a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.calls import MULTIPROCESSORS, Call, f32, few, i32, i64, numbers, plain_and_fast, widths
from tests.kernels.formats import assert_close, rounded, unpacked
from tinymixer.data import generator
from tinymixer.engines.cuda.coins import CoinPositions, generator_numbers
from tinymixer.kernels import launch as layouts
from tinymixer.models import MixerConfig

pytestmark = pytest.mark.usefixtures("machine")
seeds = st.integers(0, 2**40)


def coins(seed, count):
    return generator(seed, "masks", 2, 7).random(count, dtype=np.float32)


@numbers
@plain_and_fast
@few
@given(seed=seeds, first=st.integers(0, 1000), size=st.integers(1, 200) | st.sampled_from([512, 9000]))
def test_dropout(number, plain, seed, first, size):
    call, rate = Call(), 0.3
    values = rounded(call.rng.standard_normal(size), number).astype(np.float64)
    found = call.in_place(values, number)
    vector = widths(number, size)
    name = f"dropout_plain<{number}>" if plain else f"dropout<{number}, {vector}>"
    layout = layouts.flat(size) if plain else layouts.striding(size, vector, MULTIPROCESSORS)
    call.run(name, layout, found, call.input(generator_numbers(seed, 2, 7)), i64(first), i64(size), f32(rate),
             f32(1 / (1 - rate)))  # fmt: skip
    keep = coins(seed, first + size)[first:] >= rate
    np.testing.assert_array_equal(unpacked(found.array, number) != 0, keep & (values != 0))
    assert_close(unpacked(found.array, number), values * keep / (1 - rate), number)


@few
@given(seed=seeds, first=st.sampled_from([2**31 - 3, 2**31 - 2, 2**33 + 1, 2**40]))
def test_coins_far_down_the_sequence(seed, first):
    call = Call()
    found = call.in_place(np.ones(64), "float")
    call.run("dropout<float, 4>", layouts.striding(64, 4, 1), found, call.input(generator_numbers(seed, 2, 7)),
             i64(first), i64(64), f32(0.5), f32(2))  # fmt: skip
    far = generator(seed, "masks", 2, 7)
    far.bit_generator.advance(first // 2)
    keep = far.random(66, dtype=np.float32)[first % 2 :][:64] >= 0.5
    np.testing.assert_array_equal(found.array, 2.0 * keep)


@few
@given(seed=seeds, images=st.integers(1, 9), parts=st.integers(1, 3), dropout=st.sampled_from([0.0, 0.2]))
def test_branches_are_dropped_as_the_layers_would(seed, images, parts, dropout):
    config = MixerConfig(
        image_size=8, hidden_dim=3, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=3, drop_path=0.6, dropout=dropout
    )
    call, positions, rates = Call(), CoinPositions(config, images, parts), np.repeat([0, 0.3, 0.6], 2)
    factors = call.output((6, parts * images))
    call.run("branch_factors<float>", layouts.flat(6 * parts * images), call.input(generator_numbers(seed, 2, 7)),
             call.input(positions.branches), call.input(rates.astype(np.float32)), factors, i32(6),
             i32(parts * images), i32(parts))  # fmt: skip
    rng, wanted = generator(seed, "masks", 2, 7), np.empty((6, parts * images))
    for part in range(parts):
        for branch, rate in enumerate(rates):
            if dropout:
                rng.random((5, images, 3) if branch % 2 == 0 else (4, images, 7), dtype=np.float32)
            here = slice(part * images, (part + 1) * images)
            wanted[branch, here] = (rng.random(images, dtype=np.float32) >= rate) / (1 - rate) if rate else 1
    np.testing.assert_allclose(factors.array, wanted, rtol=1e-6)
