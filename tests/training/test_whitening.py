"""The whitened stem: its weight comes from the training images, and stays."""

import dataclasses

import numpy as np
import pytest

from tests.training.small_runs import (
    Recorder,
    StopAfter,
    assert_same_checkpoint,
    run_small,
    small_dataset,
    small_recipe,
)
from tinymixer import MixerConfig, MlpMixer
from tinymixer.data import generator, normalise
from tinymixer.errors import ConfigError
from tinymixer.models.linear_mixer import LinearMixer
from tinymixer.ops import images_to_windows_forward
from tinymixer.parallel.ranks import ONE_RANK
from tinymixer.training import Trainer, load_checkpoint
from tinymixer.training.whitening import EPS, covariance_of_windows, stem_weight, whiten_stem, whitening

SIZES = {"image_size": 8, "in_channels": 1, "patch_size": 4, "overlap": 1, "num_blocks": 1}


def windows_of(dataset, indices, config):
    images = normalise(dataset.train_images[indices], dataset.mean, dataset.std, np.float64)
    return images_to_windows_forward(images, config.patch_size, config.overlap)[0].reshape(-1, config.patch_features)


def test_the_stems_outputs_are_uncorrelated_with_variance_one():
    dataset, config = small_dataset(), MixerConfig(**SIZES, hidden_dim=12)
    outputs = windows_of(dataset, np.arange(50), config) @ stem_weight(config, dataset, np.arange(50), seed=0)
    found = np.cov(outputs.T, bias=True)
    np.testing.assert_allclose(found, np.diag(np.diag(found)), atol=1e-9)
    eigenvalues = np.linalg.eigvalsh(np.cov(windows_of(dataset, np.arange(50), config).T, bias=True))[::-1][:12]
    np.testing.assert_allclose(np.diag(found), eigenvalues / (eigenvalues + EPS), rtol=1e-9)  # the largest, in order


def test_the_covariance_is_the_same_in_parts(monkeypatch):
    dataset, config = small_dataset(), MixerConfig(**SIZES)
    monkeypatch.setattr("tinymixer.training.whitening.AT_ONCE", 12)
    found = covariance_of_windows(config, dataset, np.arange(17))
    np.testing.assert_allclose(found, np.cov(windows_of(dataset, np.arange(17), config).T, bias=True), atol=1e-12)


def test_more_channels_than_features_are_mixtures_of_variance_one():
    factors = np.random.default_rng(0).normal(size=(5, 5))
    covariance = factors @ factors.T
    weight = whitening(covariance, 9, generator(0, "whitening"), eps=0)
    variances = np.diag(weight.T @ covariance @ weight)
    np.testing.assert_allclose(variances, np.ones(9), rtol=1e-9)
    np.testing.assert_allclose(weight[:, :5].T @ covariance @ weight[:, :5], np.eye(5), atol=1e-9)
    assert np.linalg.matrix_rank(weight[:, 5:]) == 4
    assert (weight[np.abs(weight).argmax(axis=0), np.arange(9)][:5] > 0).all()


def test_a_direction_without_variance_is_not_blown_up():
    assert np.abs(whitening(np.zeros((3, 3)), 3, generator(0, "whitening"))).max() <= 1 / np.sqrt(EPS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of two epochs with a whitened, overlapping stem, and what it said."""
    said = Recorder()
    folder = tmp_path_factory.mktemp("whitened") / "run"
    return run_small(folder, said, epochs=2, whitened_stem=True, overlap=1).folder, said


def test_a_run_keeps_the_weight_and_trains_the_bias(trained):
    folder, said = trained
    checkpoint, dataset = load_checkpoint(folder / "last.npz"), small_dataset()
    indices, held_back = dataset.split(0.2, 5)
    expected = stem_weight(checkpoint.recipe.model, dataset, indices, seed=5)
    np.testing.assert_array_equal(checkpoint.parameters["stem.weight"], expected.astype("float32"))
    assert np.abs(checkpoint.parameters["stem.bias"]).min() > 0
    assert "frozen: stem.weight, 288 of" in said.notes[0]
    assert checkpoint.recipe.model.whitened_stem
    assert not np.array_equal(expected, stem_weight(checkpoint.recipe.model, dataset, held_back, seed=5))


def test_a_resumed_run_goes_on_exactly(trained, tmp_path):
    run_small(tmp_path / "run", StopAfter(7), epochs=2, whitened_stem=True, overlap=1)
    run_small(tmp_path / "run", resume=True, epochs=2, whitened_stem=True, overlap=1)
    assert_same_checkpoint(tmp_path / "run" / "last.npz", trained[0] / "last.npz")


def test_weights_to_start_from_keep_their_stem(trained, tmp_path):
    """Another seed draws another sample, and would give another stem."""
    recipe = small_recipe(epochs=1, whitened_stem=True, overlap=1, seed=6)
    trainer = Trainer(recipe, tmp_path / "run", small_dataset(), init_from=trained[0])
    stem = trainer.model.parameters["stem.weight"]
    np.testing.assert_array_equal(stem, load_checkpoint(trained[0] / "best.npz").parameters["stem.weight"])


def test_a_model_of_the_callers_own_keeps_its_stem_and_a_note_says_so(tmp_path):
    recipe, said = small_recipe(epochs=1, whitened_stem=True), Recorder()
    model = MlpMixer(recipe.model, seed=3)
    before = model.parameters["stem.weight"].copy()
    Trainer(recipe, tmp_path / "run", small_dataset(), said, model=model)
    np.testing.assert_array_equal(model.parameters["stem.weight"], before)
    assert "the weight of the stem stays as the model brings it, and is frozen" in said.notes[0]


def test_other_models_are_refused():
    @dataclasses.dataclass(frozen=True)
    class Config(MixerConfig):
        pass

    config = Config(**SIZES, hidden_dim=12, whitened_stem=True)
    model = LinearMixer(config, seed=0)
    with pytest.raises(ConfigError, match="whitened_stem is for MlpMixer, with the stem that it comes with, and this"):
        whiten_stem(model, small_dataset(), np.arange(50), 0, ONE_RANK, print, own_model=False)
    with pytest.raises(ConfigError, match=r"eigenvectors of 2,187 numbers each.*the limit is 2,048"):
        MixerConfig(image_size=54, patch_size=27, whitened_stem=True)


def test_a_part_that_is_frozen_already_may_hold_the_stem(tmp_path):
    said = Recorder()
    trainer = Trainer(small_recipe(whitened_stem=True, freeze="stem"), tmp_path / "run", small_dataset(), said)
    assert [group.pattern for group in trainer.optimizer.groups] == ["stem.*"]
    with pytest.raises(ConfigError, match=r"'stem.weight' is frozen, so it has no learning rate"):
        Trainer(
            small_recipe(whitened_stem=True, learning_rate_factors="stem.weight=0.1"), tmp_path / "two", small_dataset()
        )


def test_the_summary_says_that_the_weight_is_not_trained():
    line = "stem.weight is set from the training images and not trained (whitened_stem)"
    assert MlpMixer(MixerConfig(**SIZES, whitened_stem=True)).summary().endswith(line)
    assert "trained" not in MlpMixer(MixerConfig(**SIZES)).summary()
