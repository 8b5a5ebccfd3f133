"""mixup and CutMix on small batches, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer.data.transforms.mixing import Mix, draw_mix, mix_images, mix_targets

IMAGES = np.random.default_rng(0).standard_normal((5, 4, 6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 0])


def test_mixup_is_a_weighted_sum_with_the_partner():
    mixed = mix_images(IMAGES.copy(), np.roll(IMAGES, -2, axis=0), Mix(2, 0.7))
    np.testing.assert_allclose(mixed, 0.7 * IMAGES + 0.3 * np.roll(IMAGES, -2, axis=0), atol=1e-6)


def test_cutmix_pastes_the_partners_box():
    partners = np.roll(IMAGES, -1, axis=0)
    mixed = mix_images(IMAGES.copy(), partners, Mix(1, 0.75, (1, 3, 2, 5)))
    np.testing.assert_array_equal(mixed[:, 1:3, 2:5], partners[:, 1:3, 2:5])
    outside = np.ones((4, 6), bool)
    outside[1:3, 2:5] = False
    np.testing.assert_array_equal(mixed[:, outside], IMAGES[:, outside])


def test_targets_have_both_shares():
    rows = mix_targets(LABELS, np.roll(LABELS, -2), 3, Mix(2, 0.7), np.float32)
    expected = [[0.7, 0, 0.3], [0, 0.7, 0.3], [0.3, 0, 0.7], [0.3, 0, 0.7], [0.7, 0.3, 0]]
    np.testing.assert_allclose(rows, expected, atol=1e-7)
    same = mix_targets(np.array([1, 1]), np.array([1, 1]), 2, Mix(1, 0.25), np.float64)
    np.testing.assert_array_equal(same, [[0, 1], [0, 1]])


@given(
    mixup=st.sampled_from([0.0, 0.2, 0.8, 2.0]),
    cutmix=st.sampled_from([0.0, 1.0]),
    count=st.integers(1, 9),
    step=st.integers(0, 200),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_what_is_drawn_fits_the_batch(mixup, cutmix, count, step, height, width):
    mix = draw_mix(mixup, cutmix, count, height, width, 0, 1, step)
    assert mix == draw_mix(mixup, cutmix, count, height, width, 0, 1, step)
    if mix is None:
        assert count < 2 or not (mixup or cutmix)
        return
    assert 1 <= mix.shift < count
    assert 0 <= mix.share <= 1
    assert (mix.box is not None) <= bool(cutmix)
    assert (mix.box is None) <= bool(mixup)
    if mix.box is not None:
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= height
        assert 0 <= left <= right <= width
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / (height * width))


def test_both_are_drawn_at_even_odds_with_beta_distributed_shares():
    mixes = [draw_mix(0.8, 1.0, 8, 32, 32, 0, 0, step) for step in range(3000)]
    pasted = [mix for mix in mixes if mix.box is not None]
    assert len(pasted) / len(mixes) == pytest.approx(0.5, abs=0.03)
    shares = np.array([mix.share for mix in mixes if mix.box is None])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.1)  # of Beta(0.8, 0.8)


@pytest.mark.parametrize("mix", [Mix(2, 0.7), Mix(1, 0.75, (1, 3, 2, 5))])
def test_the_strict_library_agrees(mix):
    partners = np.roll(IMAGES, -mix.shift, axis=0)
    elsewhere = STRICT.to_numpy(mix_images(STRICT.asarray(IMAGES), STRICT.asarray(partners), mix))
    np.testing.assert_allclose(elsewhere, mix_images(IMAGES.copy(), partners, mix), atol=1e-7)
