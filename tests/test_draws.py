"""Random numbers by name: the same in any order, and as random as they should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strict_arrays import NAMESPACE, STRICT
from tinymixer.draws import Draws, place_number
from tinymixer.errors import ConfigError, ShapeError
from tinymixer.philox import philox4x32

ALL_ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ALL_ONES] * 4, (ALL_ONES, ALL_ONES), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_the_published_vectors(counter, key, words):
    """Known answers of Random123, kat_vectors, philox4x32 with ten rounds."""
    assert [int(word) for word in philox4x32(tuple(np.array(counter, np.uint64)), key)] == words
    many = np.array(counter, np.uint64)[:, None, None] * np.ones((1, 3, 5), np.uint64)
    assert (np.array(philox4x32(tuple(many), key)) == np.array(words, np.uint64)[:, None, None]).all()


def draws(images=6, seed=3, epoch=2, step=1):
    return Draws(seed, epoch, step, np.arange(images))


KINDS = {
    "bernoulli": lambda place, shape, axis: place.bernoulli(0.3, shape, axis),
    "uniform": lambda place, shape, axis: place.uniform(shape, axis),
    "integers": lambda place, shape, axis: place.integers(7, shape, axis),
}


@settings(deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(KINDS)), rest=st.lists(st.integers(1, 9), max_size=2))
def test_parts_draw_their_own_part_of_the_same_numbers(data, kind, rest):
    images = data.draw(st.integers(1, 9))
    axis = data.draw(st.integers(0, len(rest)))
    chosen = np.array(data.draw(st.lists(st.integers(0, images - 1), min_size=1, max_size=5)))
    shape = (*rest[:axis], images, *rest[axis:])
    part_shape = (*rest[:axis], len(chosen), *rest[axis:])
    whole = KINDS[kind](draws(images).at("here"), shape, axis)
    part = KINDS[kind](draws(images).part(chosen).at("here"), part_shape, axis)
    np.testing.assert_array_equal(part, np.take(whole, chosen, axis=axis))
    assert whole.shape == shape


def test_long_rows_are_drawn_in_chunks_alike(monkeypatch):
    whole = draws().at("x").bernoulli(0.5, (40, 6, 21), 1)
    monkeypatch.setattr("tinymixer.draws.CHUNK", 7)
    np.testing.assert_array_equal(draws().at("x").bernoulli(0.5, (40, 6, 21), 1), whole)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_another_array_library_draws_the_same_numbers(kind):
    here, there = (KINDS[kind](draws().at("x", xp), (40, 6, 21), 1) for xp in (np, NAMESPACE))
    np.testing.assert_array_equal(STRICT.to_numpy(there), here)
    assert there.dtype == here.dtype


def test_the_definition():
    """Element e of an image: half e % 8 of block e // 8; the lower half of a word before the upper."""
    found = draws().at("x").bernoulli(0.3, (11, 6), 1)
    for image in range(6):
        for element in range(11):
            counter = np.array([element // 8, image, place_number("x"), 1], np.uint64)
            word = int(philox4x32(tuple(counter), draws().key)[element % 8 // 2])
            half = word >> 16 * (element % 2) & 0xFFFF
            assert found[element, image] == (half < round(0.3 * 65536))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_rates(rate):
    found = draws(500).at("x").bernoulli(rate, (500, 200))
    assert abs(found.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / found.size) + 2**-16


def test_uniform_numbers_and_integers_fill_their_ranges_evenly():
    uniform = draws(300).at("x").uniform((300, 300))
    assert 0 <= uniform.min() < uniform.max() < 1
    counts = np.histogram(uniform, 20, (0, 1))[0]
    assert np.sum((counts - 4500) ** 2 / 4500) < 50  # chi-squared of 19: beyond 50 once in ten thousand
    integers = draws(300).at("x").integers(9, (300, 300))
    counts = np.bincount(integers.ravel(), minlength=9)
    assert len(counts) == 9
    assert np.sum((counts - 10_000) ** 2 / 10_000) < 35


@pytest.mark.parametrize(
    "other",
    [
        draws(400).at("another"),
        draws(400, seed=4).at("x"),
        draws(400, epoch=3).at("x"),
        draws(400, step=2).at("x"),
        Draws(3, 2, 1, 400 + np.arange(400)).at("x"),
    ],
    ids=["place", "seed", "epoch", "step", "images"],
)
def test_other_numbers_have_nothing_to_do_with_these(other):
    one, two = draws(400).at("x").uniform((400, 50)), other.uniform((400, 50))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.04
    assert abs(np.corrcoef(one[:-1].ravel(), one[1:].ravel())[0, 1]) < 0.04


@pytest.mark.parametrize("seed", [0, 2**31, 2**64 + 5, 10**40])
def test_any_seed(seed):
    assert 0 < draws(100, seed=seed).at("x").uniform((100,)).mean() < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: draws(seed=-1), "seed of random numbers must be 0 or more, got -1"),
        (lambda: draws(step=2**32), "step of random numbers must be less than 4,294,967,296"),
        (lambda: Draws(0, 0, np.array([1, 2]), np.arange(3)), r"a step for each image is whole numbers \(3,\), got"),
        (lambda: Draws(0, 0, np.array([1, -2]), np.arange(2)), "step of random numbers must be 0 or more, got -2"),
        (lambda: Draws(0, 0, 0, np.zeros((2, 2), int)), "positions"),
        (lambda: Draws(0, 0, 0, np.array([0.5])), "positions"),
        (lambda: Draws(0, 0, 0, np.array([2**32])), "positions"),
        (lambda: draws(epoch=1.5), "epoch of random numbers must be a whole number, got 1.5"),
        (lambda: draws(seed=True), "seed of random numbers must be a whole number, got True"),
        (lambda: draws().at("x").bernoulli(1.5, (6,)), "a probability lies between 0 and 1, got 1.5"),
        (lambda: draws().at("x").integers(0, (6,)), "a number of choices"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_images_of_several_steps_are_drawn_at_once():
    steps = [Draws(3, 1, step, np.arange(4)) for step in (5, 0, 7)]
    together = Draws(3, 1, np.repeat([5, 0, 7], 4), np.tile(np.arange(4), 3))
    for draw in (
        lambda draws: draws.at("x").uniform((len(draws), 9)),
        lambda draws: draws.at("y").bernoulli(0.3, (len(draws), 20)),
        lambda draws: draws.part(slice(1, None, 4)).at("z").integers(50, (len(draws) // 4, 2)),
    ):
        np.testing.assert_array_equal(draw(together), np.concatenate([draw(each) for each in steps]))


def test_a_shape_without_the_images_is_refused():
    with pytest.raises(ShapeError, match=r"for 6 images were asked for in the shape \(5, 7\)"):
        draws().at("x").uniform((5, 7))
