"""A run begins with weights that were trained before; the package brings some."""

import numpy as np
import pytest

from tests.training.small_runs import Recorder, run_small, small_dataset, small_recipe
from tinymixer import MixerConfig, MlpMixer
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.training import Trainer, load_checkpoint, load_run
from tinymixer.training.fine_tuning import begin_with
from tinymixer.training.loading import find_weights, shipped_weights


def test_matching_arrays_are_taken_and_the_others_named(tmp_path):
    run_small(tmp_path / "first", epochs=1)
    checkpoint, said = load_checkpoint(tmp_path / "first" / "last.npz"), []
    model = MlpMixer(MixerConfig.from_dict(small_recipe().model.to_dict() | {"num_classes": 3}), seed=9)
    before = model.parameters.to_numpy()
    begin_with(model, checkpoint, "first", said.append)
    for name, array in model.parameters.to_numpy().items():
        expected = before if name.startswith("head.") else checkpoint.parameters
        np.testing.assert_array_equal(array, expected[name])
    (sentence,) = said
    assert "drawn anew: head.weight, head.bias; not used: head.weight, head.bias" in sentence
    with pytest.raises(ConfigError, match="no array of first has the name and the shape"):
        begin_with(MlpMixer(MixerConfig(hidden_dim=20, num_blocks=1, num_classes=7)), checkpoint, "first", said.append)


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
