"""Lists of transforms: read from text, drawn by name, applied to batches."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strict_arrays import STRICT
from tinymixer.data.transforms import POLICY_TRANSFORMS, TRANSFORMS, apply, draw, erase, parse
from tinymixer.draws import Draws
from tinymixer.errors import ConfigError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
EVERYTHING = " ".join(name for name in TRANSFORMS) + " rand_augment trivial_augment"
texts = st.sampled_from([*TRANSFORMS, "rand_augment(3, 20)", "trivial_augment", "rotate(20, 0.5) contrast(0.5, 0.5)"])


def transformed(text, images=IMAGES, numbers=None, step=0, backend=None):
    uses, count = parse(text), len(images)
    draws = Draws(7, 0, step, np.arange(count) if numbers is None else numbers)
    drawn = draw(uses, draws, *images.shape[1:])
    if backend is not None:
        images = backend.asarray(images)
    result = apply(images, drawn)
    erase(result, drawn)
    return result if backend is None else backend.to_numpy(result)


def test_a_text_is_read():
    assert parse("rotate(20, 0.4), zoom(0.25)\n invert") == (
        *parse("rotate(20,0.4)"),
        *parse("zoom(0.25,1)"),
        *parse("invert(1, 1)"),
    )
    (use,) = parse("rand_augment")
    assert (use.strength, use.rate) == (2, 9)
    assert parse("") == parse("  ") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotat(20)", "unknown transform 'rotat'.*Did you mean 'rotate'"),
        ("rotate(a)", "expects numbers"),
        ("rotate(200)", "strength from 0 to 180 \\(degrees"),
        ("rotate(20, 2)", "a rate from 0 to 1"),
        ("rotate(nan)", "strength from 0"),
        ("rotate(1, 1, 1)", "takes a strength"),
        ("rotate(20", "written as 'rotate"),
        ("20 rotate", "written as 'rotate"),
        ("rand_augment(0, 9)", "takes a count"),
        ("rand_augment(2, 31)", "magnitude up to 30"),
        ("rand_augment(1.5)", "takes a count"),
        ("trivial_augment(3)", "takes no numbers"),
    ],
)
def test_what_a_text_cannot_mean_is_refused_in_a_sentence(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):
        parse(text)


@settings(deadline=None, max_examples=30)
@given(text=texts, first=st.integers(0, 10))
def test_a_slice_of_a_batch_gets_its_part_of_the_same_numbers(text, first):
    part = np.arange(first, 12)
    np.testing.assert_allclose(transformed(text, IMAGES[part], part), transformed(text)[part], atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(text=texts)
def test_every_transform_changes_images_stays_in_range_and_repeats_itself(text):
    plain, result = IMAGES.astype(np.float32) / 255, transformed(text)
    assert result.shape == IMAGES.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(result - plain).max() > 0.05
    np.testing.assert_array_equal(transformed(text), result)
    assert not np.array_equal(transformed(text, step=1), result) or text == "invert"


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in ("resized_crop", "invert")])
def test_without_strength_nothing_changes(name):
    result = transformed(f"{name}(0)")
    if name != "random_erasing":  # its boxes cover 0.02 of the image at least
        np.testing.assert_allclose(result, IMAGES.astype(np.float32) / 255, atol=1e-5)


def test_a_rate_is_the_share_of_images():
    images = np.repeat(IMAGES[:1], 2000, axis=0)
    changed = np.abs(transformed("invert(1, 0.3)", images) - images / np.float32(255)).max(axis=(1, 2, 3)) > 0.01
    assert 0.26 < changed.mean() < 0.34


def test_trivial_augment_takes_each_transform_equally_often():
    drawn = draw(parse("trivial_augment"), Draws(0, 0, 0, np.arange(6000)), 8, 8, 3)
    shares = {name: len(images) / 6000 for name, images, _ in drawn.colour}
    assert set(shares) == set(POLICY_TRANSFORMS) & set(shares)
    for share in shares.values():
        assert share == pytest.approx(1 / len(POLICY_TRANSFORMS), abs=0.015)


def test_rand_augment_uses_its_whole_magnitude_either_way():
    drawn = draw(parse("rand_augment(1, 15)"), Draws(0, 0, 0, np.arange(500)), 8, 8, 3)
    amounts = {name: amounts for name, _, amounts in drawn.colour}
    np.testing.assert_allclose(np.unique(amounts["contrast"].round(6)), [0.55, 1.45])
    assert set(np.unique(amounts["posterize"])) == {6, 8}


def test_an_erased_box_is_zero_and_the_rest_stays():
    images = np.ones((50, 8, 8, 1), np.float32)
    drawn = draw(parse("erase(0.5)"), Draws(0, 0, 0, np.arange(50)), 8, 8, 1)
    erase(images, drawn)
    assert set(np.unique(images)) == {0, 1}
    zeros = (images == 0).sum(axis=(1, 2, 3))
    assert zeros.max() == 16
    assert zeros.min() >= 4  # a centre in a corner leaves a quarter of the square


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (4, 5, 9, 1), (5, 6, 6, 3)])
def test_all_of_them_on_any_shape_and_on_the_strict_library(shape):
    images = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    ours = transformed(EVERYTHING, images)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(transformed(EVERYTHING, images, backend=STRICT), ours, atol=1e-5)
