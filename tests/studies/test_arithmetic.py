"""The arithmetic of the studies' parts: permutations, shares of the images, equal operations, reach, spreads."""

import numpy as np
import pytest

from tinymixer.data import load_dataset
from tinymixer.errors import DataError
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.studies import Form, Numbers, Spread, permutations
from tinymixer.studies.data_share import share_of, subset
from tinymixer.studies.inside import reach
from tinymixer.studies.numbers import PartResult
from tinymixer.studies.permutations import exactness, orders, permute_weights, permuted, pixel_order
from tinymixer.studies.token_mixers import costs_by_size, parts, steps_for


@pytest.mark.parametrize(("size", "patch", "channels"), [(8, 2, 1), (12, 4, 3)])
def test_a_permuted_mixer_sees_permuted_images_as_it_saw_them_before(size, patch, channels):
    config = MixerConfig(
        image_size=size, in_channels=channels, patch_size=patch, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7,
        num_blocks=2,
    )  # fmt: skip
    random = np.random.default_rng(1)
    model = MlpMixer(config, backend="numpy", dtype="float64", seed=0)
    model.parameters.values[...] = random.normal(0, 0.5, model.parameters.values.shape)
    images = random.normal(size=(3, size, size, channels))
    logits = model.forward(images)[0]
    for kind in ("patches", "pixels"):
        there = permuted(images, pixel_order(kind, size, patch, seed=2))
        assert not np.allclose(there, images)
        np.testing.assert_array_equal(np.sort(there.ravel()), np.sort(images.ravel()))
        np.testing.assert_allclose(np.sort(there.sum(axis=3).ravel()), np.sort(images.sum(axis=3).ravel()))
        assert np.abs(model.forward(there)[0] - logits).max() > 1e-3
    permute_weights(model, *orders(size // patch, patch, seed=2))
    there = permuted(images, pixel_order("patches", size, patch, seed=2))
    np.testing.assert_allclose(model.forward(there)[0], logits, rtol=0, atol=1e-12)


def test_pixels_of_a_patch_stay_in_one_patch_and_all_patches_are_permuted_alike():
    order = pixel_order("patches", 8, 2, seed=0).reshape(8, 8)
    of_patches, within = orders(4, 2, seed=0)
    for s in range(16):
        row, column = divmod(s, 4)
        taken = order[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()
        from_row, from_column = divmod(int(of_patches[s]), 4)
        corner = 16 * from_row + 2 * from_column
        np.testing.assert_array_equal(taken, corner + np.array([0, 1, 8, 9])[within])
    np.testing.assert_array_equal(pixel_order("original", 8, 2, 0), np.arange(64))
    np.testing.assert_array_equal(np.sort(pixel_order("pixels", 8, 2, 0)), np.arange(64))


def test_the_study_reports_rounding_beside_a_control():
    found = exactness(Form(quick=True, seeds=1), 0)
    assert found["difference_float64"] < 1e-13
    assert found["difference_float32"] < 1e-4
    assert found["difference_of_unchanged_weights_float64"] > 0.1


def test_a_share_has_its_part_of_every_class_and_lies_within_larger_ones():
    digits = load_dataset("digits")
    labels = digits.train_labels
    few, more = subset(labels, 5, seed=3), subset(labels, 20, seed=3)
    assert set(few) < set(more)
    for label in range(10):
        members = np.sum(labels == label)
        assert np.sum(labels[few] == label) == max(1, round(0.05 * members))
    training, validation = digits.split(0.2, seed=3)
    changed = share_of(5, 0.2, seed=3)(digits)
    train, held_out = changed.split(0.2, seed=3)
    assert (len(train), len(held_out)) == (len(training), len(validation))
    np.testing.assert_array_equal(changed.train_images[held_out], digits.train_images[validation])
    images = {image.tobytes() for image in changed.train_images[train]}
    kept = subset(labels[training], 5, seed=3)
    assert images == {image.tobytes() for image in digits.train_images[training[kept]]}
    assert not images & {image.tobytes() for image in digits.train_images[validation]}
    whole = share_of(100, 0.2, seed=3)(digits)
    np.testing.assert_array_equal(whole.train_labels[: len(training)], labels[training])


@pytest.mark.parametrize("steps", [0, 200])
def test_token_mixers_train_for_equal_multiply_adds(steps):
    form = Form(quick=True, seeds=1, steps=steps)
    made = {part.what["tokens"]: part for part in parts(form) if part.recipe is not None}
    digits = load_dataset("digits")
    cost = {
        name: part.recipe.training.steps * part.recipe.fitted_to(digits).model.multiply_adds
        for name, part in made.items()
    }
    assert len(cost) == 6
    for name, value in cost.items():
        assert value == pytest.approx(cost["mlp"], rel=0.01), name
    widths = {(part.recipe.model.hidden_dim, part.recipe.model.channels_mlp_dim) for part in made.values()}
    assert len(widths) == 1
    assert made["mlp"].recipe.training.steps == (steps or 300)
    assert steps_for(made["mlp"].recipe, made["mlp"].recipe, form) == made["mlp"].recipe.training.steps


def test_in_the_full_form_of_token_mixers_more_seeds_are_for_what_carries_the_claim():
    made = {(part.what["tokens"], part.seed) for part in parts(Form(quick=False, seeds=2)) if part.recipe is not None}
    assert {name for name, seed in made if seed == 1} == {"mlp", "attention + positions"}
    assert len({name for name, seed in made if seed == 0}) == 6


def test_costs_at_published_sizes_are_counted_as_a_block_says(monkeypatch):
    monkeypatch.setattr("tinymixer.studies.token_mixers.PUBLISHED", ("H/14",))
    monkeypatch.setattr(
        "tinymixer.studies.token_mixers.forward_seconds", lambda configs, batch: dict.fromkeys(configs, 1.0)
    )
    S, C, DS, DC = 256, 1280, 640, 5120
    expected = (4 * C + 2 * S + 2 * DC) / (2 * DS + 2 * DC)
    assert costs_by_size()["ratio_of_multiply_adds"] == [pytest.approx(expected)]


def test_reach_is_small_where_mixing_is_local_and_one_where_it_is_even():
    config = MixerConfig(
        image_size=8, in_channels=1, patch_size=1, hidden_dim=4, tokens_mlp_dim=64, channels_mlp_dim=4, num_blocks=1
    )
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    model = MlpMixer(config, backend="numpy", seed=0)
    mixing = {name: model.parameters[f"blocks.0.token_mixing.{name}"] for name in ("weight1", "weight2")}
    even = reach(model, images)[0]
    assert 0.9 < even < 1.1
    mixing["weight1"][...] = np.eye(64)
    rows, columns = np.divmod(np.arange(64), 8)
    distance = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    mixing["weight2"][...] = distance == 1  # the four neighbours of each token
    np.testing.assert_allclose(reach(model, images), 1 / distance[distance > 0].mean(), rtol=1e-5)


def test_spreads_and_pairs():
    def part(model, seed, accuracy):
        return PartResult(f"{model}-{seed}", model, {"model": model}, seed, "finished", {"accuracy": accuracy}, {})

    failed = PartResult("a-9", "a", {"model": "a"}, 9, "failed", {}, {})
    numbers = Numbers([part("a", 0, 0.5), part("a", 1, 0.7), part("b", 1, 0.4), failed])
    spread = numbers.spread("accuracy", model="a")
    assert (spread.mean, spread.low, spread.high) == (pytest.approx(0.6), 0.5, 0.7)
    assert spread.percent() == "60.0 % (50.0 to 70.0)"
    assert spread.plain() == "0.60 (0.50 to 0.70)"
    assert Spread((0.25,)).percent() == "25.0 %"
    assert not numbers.spread("accuracy", model="c")
    assert Spread(()).percent() == "not measured"
    assert numbers.paired("accuracy", {"model": "a"}, {"model": "b"}) == [(0.7, 0.4)]
    assert numbers.groups()["a"]["seeds"] == [0, 1]


def test_seeds_in_words_tell_groups_with_fewer():
    def part(group, seed, figure="validation_accuracy", state="finished"):
        return PartResult(f"{group}-{seed}", group, {"model": group}, seed, state, {figure: 0.5}, {})

    many = [part("a", 0), part("a", 1), part("a", 2)]
    assert Numbers(many).seeds_in_words() == "3 seeds"
    untrained, failed = part("cost", 0, "seconds"), part("b", 1, state="failed")
    numbers = Numbers([*many, part("b", 0), failed, untrained])
    assert numbers.seeds_in_words() == "1 to 3 seeds"
    assert numbers.seeds_in_words(model="b") == "1 seed"


def test_a_picture_of_the_full_form_takes_its_images_from_where_the_runs_took_theirs(monkeypatch, tmp_path):
    asked = []

    def images_of(form):
        asked.append((form.dataset, form.data))
        raise DataError("moved away")

    monkeypatch.setattr(permutations, "images_of", images_of)
    assert permutations.draw(Numbers([], quick=False, data="/elsewhere"), tmp_path, {}) == ["permutations.png"]
    assert asked == [("cifar10", "/elsewhere")]
