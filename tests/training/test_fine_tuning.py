"""A run starts from weights that were trained before: which arrays are loaded, and what is said of the others."""

import dataclasses

import numpy as np
import pytest

from tests.training.small_runs import Recorder, run_small, small_dataset, small_recipe
from tinymixer import Dataset, MixerConfig, MlpMixer, load_recipe
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.ops import images_to_patches_forward
from tinymixer.training import Trainer, load_checkpoint, load_run, loading
from tinymixer.training.fine_tuning import begin_with
from tinymixer.training.loading import find_weights, shipped_weights
from tinymixer.training.starting_weights import StartingWeights


def test_matching_arrays_are_taken_and_the_others_named(tmp_path):
    run_small(tmp_path / "first", epochs=1)
    checkpoint, said = load_checkpoint(tmp_path / "first" / "last.npz"), []
    model = MlpMixer(MixerConfig.from_dict(small_recipe().model.to_dict() | {"num_classes": 3}), seed=9)
    before = model.parameters.to_numpy()
    begin_with(model, StartingWeights.of(checkpoint, "first"), said.append)
    for name, array in model.parameters.to_numpy().items():
        expected = before if name.startswith("head.") else checkpoint.parameters
        np.testing.assert_array_equal(array, expected[name])
    (sentence,) = said
    assert "newly initialised: head.weight, head.bias; not used: head.weight, head.bias" in sentence
    other = MlpMixer(MixerConfig(hidden_dim=20, num_blocks=1, num_classes=7))
    with pytest.raises(ConfigError, match="no array of first has the name and the shape"):
        begin_with(other, StartingWeights.of(checkpoint, "first"), said.append)


def patches_of(images, size):
    return images_to_patches_forward(images, size)[0]


def own_pictures(size=64, channels=3, classes=3):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, size, size, channels), dtype=np.uint8)
    return Dataset.from_arrays(images, np.arange(40) % classes, class_names=[f"kind {k}" for k in range(classes)])


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_starts_from_the_first_mixer(tmp_path, channels):
    heard, first = Recorder(), load_run("first-mixer").model
    trainer = Trainer(load_recipe("photos"), tmp_path / "run", own_pictures(64, channels), heard)
    (sentence,) = heard.notes
    assert sentence.startswith(
        "starts from the weights of first-mixer: 52 of 54 arrays are loaded (the stem fitted from patches of 4 x 4"
    )
    assert "newly initialised: head.weight, head.bias" in sentence
    assert "--init-from none starts from scratch" in sentence
    assert 'init_from = "first-mixer"' in (tmp_path / "run" / "config.toml").read_text()

    small = np.random.default_rng(1).standard_normal((2, 32, 32, channels)).astype(np.float32)
    large = small.repeat(2, axis=1).repeat(2, axis=2)  # each pixel four times: the stem must see the same
    model = trainer.model
    ours = model.stem.forward(patches_of(large, 8))[0]
    theirs = first.stem.forward(patches_of(small.repeat(3 // channels, axis=3), 4))[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    expected = first.parameters.to_numpy()
    for name, array in model.parameters.to_numpy().items():
        if name.startswith("blocks."):
            np.testing.assert_array_equal(array, expected[name])


def test_a_start_that_the_recipe_suggests_is_left_out_where_the_model_is_another(tmp_path):
    heard = Recorder()
    recipe = load_recipe("photos").with_overrides({"hidden_dim": 16})
    trainer = Trainer(recipe, tmp_path / "other", own_pictures(), heard)
    assert (
        "first-mixer, which the recipe suggests, does not fit this model: it has hidden_dim 64, not 16"
        in heard.notes[0]
    )
    assert trainer.recipe.fine_tuning.init_from == "none"
    fewer = recipe.with_overrides({"tokens_mlp_dim": 8, "channels_mlp_dim": 8, "patch_size": 16})
    with pytest.raises(ConfigError, match="no array of first-mixer has the name and the shape"):
        Trainer(fewer, tmp_path / "asked", own_pictures(), Recorder(), init_from="first-mixer")


def test_none_starts_from_scratch(tmp_path):
    models = []
    for number, (recipe, init_from) in enumerate(
        [(load_recipe("photos"), "none"), (load_recipe("photos").with_overrides({"init_from": "none"}), None)]
    ):
        heard = Recorder()
        trainer = Trainer(recipe, tmp_path / str(number), own_pictures(), heard, init_from=init_from)
        assert heard.notes == []
        assert trainer.recipe.fine_tuning.init_from == "none"
        models.append(trainer.model.parameters.to_numpy()["stem.weight"])
    np.testing.assert_array_equal(*models)


def test_a_model_handed_over_keeps_its_weights(tmp_path):
    model = MlpMixer(load_recipe("photos").fitted_to(own_pictures()).model, seed=3)
    before, heard = model.parameters.to_numpy(), Recorder()
    trainer = Trainer(load_recipe("photos"), tmp_path / "run", own_pictures(), heard, model=model)
    assert heard.notes == []
    assert trainer.recipe.fine_tuning.init_from == "none"
    np.testing.assert_array_equal(model.parameters.to_numpy()["stem.weight"], before["stem.weight"])


def test_a_head_for_other_classes_is_not_loaded(tmp_path):
    heard = Recorder()
    Trainer(load_recipe("photos"), tmp_path / "run", own_pictures(classes=10), heard)  # as many classes, others
    assert "newly initialised: head.weight, head.bias" in heard.notes[0]


def test_larger_pictures_fit_stem_and_token_mixing(tmp_path):
    """128 x 128 pictures with the recipe's patches of 8 x 8: the stem is fitted first, then token mixing."""
    heard = Recorder()
    trainer = Trainer(
        load_recipe("photos").with_overrides({"image_size": 128}), tmp_path / "a", own_pictures(128), heard
    )
    assert "52 of 54 arrays are loaded (the stem fitted from patches of 4 x 4 in colour to 8 x 8" in heard.notes[0]
    assert heard.notes[1].startswith("16 arrays of token mixing were interpolated from 8 x 8 to 16 x 16 patches")
    assert trainer.recipe.fine_tuning.init_from == "first-mixer"
    exact = load_recipe("photos").with_overrides({"image_size": 128, "tokens_mlp_dim": 256})
    heard, first = Recorder(), load_run("first-mixer").model
    model = Trainer(exact, tmp_path / "b", own_pictures(128), heard).model
    assert heard.notes[1].startswith("16 arrays of token mixing were expanded from 8 x 8 to 16 x 16 patches")
    # A large image tiled from four copies, each pixel four times: its tokens are those of the small image, four times.
    image = np.random.default_rng(2).standard_normal((2, 32, 32, 3)).astype(np.float32)
    tiled = np.tile(image.repeat(2, axis=1).repeat(2, axis=2), (1, 2, 2, 1))

    def tokens(network, images, size):
        x = network.stem.forward(patches_of(images, size))[0]
        for block in network.blocks:
            x = block.forward(x)[0]
        return x.mean(axis=0)  # (B, C)

    np.testing.assert_allclose(tokens(model, tiled, 8), tokens(first, image, 4), rtol=1e-3, atol=1e-4)


def test_a_suggested_start_that_cannot_be_fitted_names_the_sizes(tmp_path):
    heard = Recorder()
    recipe = load_recipe("photos").with_overrides({"image_size": 48, "patch_size": 6})
    Trainer(recipe, tmp_path / "a", own_pictures(48), heard)
    assert "does not fit this model: it has patch_size 4, not 6" in heard.notes[0]
    heard, off = Recorder(), load_recipe("photos").with_overrides({"image_size": 128, "resize_tokens": "off"})
    Trainer(off, tmp_path / "b", own_pictures(128), heard)
    assert "it has num_tokens 64, not 256; patch_size 4, not 8" in heard.notes[0]


def test_weights_over_other_channels_are_not_taken_even_where_their_shapes_agree():
    """4 tokens of 4 channels and 16 tokens of one channel: vectors of 16 numbers, which mean different things."""
    small, said = MixerConfig(image_size=8, hidden_dim=8, num_blocks=1, grouped_channels=4), []
    large = dataclasses.replace(small, image_size=16, grouped_channels=1)
    source = MlpMixer(small, seed=1)
    weights = StartingWeights("first", "mlp_mixer", small, source.parameters.to_numpy(), {})
    model = MlpMixer(large, seed=2)
    assert model.parameters.shape("blocks.0.token_mixing.weight1") == (64, 16)
    before = model.parameters.to_numpy()
    begin_with(model, weights, said.append)
    for name, array in model.parameters.to_numpy().items():
        np.testing.assert_array_equal(array, (before if "token_mixing" in name else weights.parameters)[name])
    assert "newly initialised: blocks.0.token_mixing.weight1, blocks.0.token_mixing.bias1" in said[0]
    same = MlpMixer(dataclasses.replace(small, image_size=16))
    with pytest.raises(ConfigError, match="grouped_channels = 4 cannot be fitted from 2 x 2 to 4 x 4 patches"):
        begin_with(same, weights, said.append)


def test_a_run_folder_is_read_once(tmp_path, monkeypatch):
    run_small(tmp_path / "run", epochs=1)
    read = []
    monkeypatch.setattr(loading, "load_checkpoint", lambda path: read.append(path.name) or load_checkpoint(path))
    assert load_run(tmp_path / "run").which == "last"
    assert read == ["last.npz"]


def test_a_run_begins_with_a_folder_or_a_file(tmp_path):
    run_small(tmp_path / "first", epochs=1)
    for source in (tmp_path / "first", tmp_path / "first" / "last.npz"):
        heard = Recorder()
        out = tmp_path / f"from-{source.suffix}"
        trainer = Trainer(small_recipe(), out, small_dataset(), heard, init_from=source)
        expected = load_checkpoint(tmp_path / "first" / "last.npz").parameters
        for name, array in trainer.model.parameters.to_numpy().items():
            np.testing.assert_array_equal(array, expected[name])
        assert heard.notes == []


def test_the_model_in_the_box_knows_cifar10():
    assert shipped_weights() == ["first-mixer"]
    path = find_weights("first-mixer")
    assert path.stat().st_size < 2_000_000
    assert path.with_suffix(".md").is_file()
    run = load_run("first-mixer")
    assert run.data.class_names[:2] == ("airplane", "automobile")
    assert run.recipe.data.data == ""  # no path of whoever trained it
    assert run.predict(np.full((50, 40, 3), 128, np.uint8)).probabilities.sum() == pytest.approx(1)
    with pytest.raises(CheckpointError, match="Did you mean 'first-mixer'"):
        load_run("first-mixr")
