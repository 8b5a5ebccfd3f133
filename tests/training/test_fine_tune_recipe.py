"""The recipe fine-tune: the paper's way, sizes from the weights, other image sizes, published weights."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from tests.training.small_runs import Recorder, run_small, small_dataset
from tinymixer import Dataset, MlpMixer
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.pretrained import export_weights
from tinymixer.training import Trainer, load_checkpoint, load_recipe, load_run
from tinymixer.training.fine_tuning import begin_with
from tinymixer.training.options import FineTuningOptions
from tinymixer.training.starting_weights import StartingWeights, weights_to_begin_with
from tinymixer.training.weights import load_weights


def fine_tune(out, start, dataset=None, heard=None, **overrides):
    """Run the recipe "fine-tune" with small batches; returns the trainer, after its run."""
    recipe = load_recipe("fine-tune").with_overrides(
        {"epochs": 1, "warmup_epochs": 0.5, "batch_size": 8, "backend": "numpy", "validation_share": 0.2} | overrides
    )
    trainer = Trainer(recipe, out, dataset or small_dataset(), heard or Recorder(), init_from=start)
    trainer.result = trainer.run()
    return trainer


def enlarged(dataset, factor):
    """The data set with every pixel repeated, so that images are `factor` times as large a side."""
    larger = {
        part: getattr(dataset, part).repeat(factor, axis=1).repeat(factor, axis=2)
        for part in ("train_images", "test_images")
    }
    return dataclasses.replace(dataset, name="own", source="tests", **larger)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run on 8 x 8 images, with 2 x 2 patches and tokens_mlp_dim 4."""
    return run_small(tmp_path_factory.mktemp("trained") / "run", epochs=1).folder


def test_a_run_as_in_the_paper(tmp_path, trained):
    heard = Recorder()
    trainer = fine_tune(tmp_path / "run", trained, heard=heard)
    optimizer, recipe = trainer.optimizer, trainer.recipe
    assert (type(optimizer).__name__, optimizer.momentum, optimizer.clip_norm) == ("SGD", 0.9, 1.0)
    assert (recipe.schedule.schedule, recipe.optimizer.weight_decay) == ("cosine", 0)
    assert recipe.model.hidden_dim == 8
    assert heard.notes[1].startswith(f"starts from the weights of {trained}: ")
    assert heard.notes[1].endswith(" arrays are loaded; the head is new and starts at zero")
    assert heard.notes[0].startswith(f"the model has the sizes of {trained}: patch_size 4, hidden_dim 8")
    # Before the first update a head of zeros says nothing: the loss is that of ten classes guessed at.
    assert heard.steps[0][1] == pytest.approx(np.log(10), abs=1e-5)
    again = Trainer(recipe, tmp_path / "run", small_dataset(), resume=True).run()
    assert again.status == "already finished"
    from_the_recipe = load_recipe("fine-tune").with_overrides(
        {"epochs": 1, "warmup_epochs": 0.5, "batch_size": 8, "backend": "numpy", "validation_share": 0.2}
    )
    assert Trainer(from_the_recipe, tmp_path / "run", small_dataset(), resume=True).run().status == "already finished"
    assert load_run(tmp_path / "run").model.config.hidden_dim == 8


def test_larger_images_expand_token_mixing_as_in_the_paper(tmp_path, trained):
    heard = Recorder()
    trainer = fine_tune(tmp_path / "run", trained, enlarged(small_dataset(), 2), heard)
    config = trainer.recipe.model
    assert (config.image_size, config.grid, config.tokens_mlp_dim) == (16, (4, 4), 16)
    assert any("8 arrays of token mixing were expanded from 2 x 2 to 4 x 4 patches" in note for note in heard.notes)
    assert load_run(tmp_path / "run").model.config == config


def test_the_enlarged_model_says_of_a_tiled_image_what_the_small_one_says_of_the_image(trained):
    small = load_run(trained, backend="numpy").model
    config = dataclasses.replace(small.config, image_size=16, tokens_mlp_dim=16)
    large, said = MlpMixer(config), []
    begin_with(large, StartingWeights.of(load_checkpoint(trained / "last.npz"), "run"), said.append)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(large.forward(np.tile(images, (1, 2, 2, 1)))[0], small.forward(images)[0], atol=1e-5)
    assert re.match(r"starts from the weights of run: all \d+ arrays are loaded \(", said[0])
    assert said[1].startswith("8 arrays of token mixing were expanded")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("overrides", "side", "width", "words"),
    [
        ({}, 12, 4, "interpolated from 2 x 2 to 3 x 3 patches, which is an approximation"),
        ({"resize_tokens": "off"}, 16, 4, r"newly initialised: blocks\.0\.token_mixing\.weight1"),
    ],
)
def test_other_ways_with_larger_images(tmp_path, trained, overrides, side, width, words):
    data, heard = small_dataset(), Recorder()
    data = enlarged(data, side // 8) if side % 8 == 0 else dataclasses.replace(
        data, name="own", source="tests", train_images=np.pad(data.train_images, ((0, 0), (2, 2), (2, 2), (0, 0))),
        test_images=np.pad(data.test_images, ((0, 0), (2, 2), (2, 2), (0, 0))),
    )  # fmt: skip
    trainer = fine_tune(tmp_path / "run", trained, data, heard, **overrides)
    assert (trainer.recipe.model.image_size, trainer.recipe.model.tokens_mlp_dim) == (side, width)
    assert any(re.search(words, note) for note in heard.notes)


def test_a_recipe_may_name_the_weights_whose_sizes_it_takes(tmp_path, trained):
    heard = Recorder()
    trainer = fine_tune(tmp_path / "run", None, enlarged(small_dataset(), 2), heard, init_from=str(trained))
    assert trainer.recipe.model.tokens_mlp_dim == 16
    assert trainer.recipe.fine_tuning.init_from == str(trained)
    assert heard.notes[1].startswith(f"starts from the weights of {trained}: ")
    assert "--init-from none" not in heard.notes[1]  # this recipe cannot start from scratch
    assert Trainer(trainer.recipe, tmp_path / "run", trainer.dataset, resume=True).run().status == "already finished"


def test_grey_pictures_fit_the_stem(tmp_path):
    grey = Dataset.from_arrays(np.zeros((20, 32, 32, 1), np.uint8), np.arange(20) % 2, class_names=["a", "b"])
    trainer = fine_tune(tmp_path / "run", "first-mixer", grey, heard := Recorder())
    assert (
        "54 arrays are loaded (the stem fitted from patches of 4 x 4 in colour to 4 x 4 in grey); the head"
        in (heard.notes[1])
    )
    assert trainer.recipe.model.in_channels == 1


def test_what_fine_tuning_refuses(tmp_path, trained):
    for start in (None, "none"):
        with pytest.raises(ConfigError, match=r"takes the model's sizes from the weights .* say which, --init-from "):
            fine_tune(tmp_path / "run", start)
    with pytest.raises(ConfigError, match=r"the recipe has hidden_dim = 9, and .* has 8: leave it out"):
        fine_tune(tmp_path / "run", trained, hidden_dim=9)
    with pytest.raises(ConfigError, match=r"the recipe is for a linear_mixer, and .* holds a mlp_mixer"):
        fine_tune(tmp_path / "run", trained, architecture="linear_mixer")
    with pytest.raises(ConfigError, match="all parameters are frozen"):
        fine_tune(tmp_path / "run", trained, freeze="*")
    assert not (tmp_path / "run").exists()


def test_the_model_in_the_box_learns_photographs_of_another_size(tmp_path):
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    for channel, name in enumerate(("red", "green")):
        (photos / name).mkdir(parents=True)
        for number in range(16):
            pixels = rng.integers(0, 120, (70, 90, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(photos / name / f"{number}.png")
    heard = Recorder()
    recipe = load_recipe("fine-tune").with_overrides(
        {"data": str(photos), "image_size": 64, "epochs": 2, "batch_size": 8, "backend": "numpy", "freeze": "stem"}
    )
    trainer = Trainer(recipe, tmp_path / "run", progress=heard, init_from="first-mixer")
    result = trainer.run()
    assert trainer.recipe.model.tokens_mlp_dim == 4 * load_run("first-mixer").model.config.tokens_mlp_dim
    assert result.test_accuracy > 0.8
    stem = load_run("first-mixer").model.parameters["stem.weight"]
    np.testing.assert_array_equal(load_run(tmp_path / "run").model.parameters["stem.weight"], stem)
    assert load_run(tmp_path / "run").predict(photos / "red" / "0.png").class_names == ("green", "red")


@pytest.mark.parametrize("layout", ["authors", "timm"])
def test_published_weights_begin_a_run_too(tmp_path, layout):
    """From a file in another program's layout, and at the image size of the run's own pictures."""
    model = load_run("first-mixer", backend="numpy").model
    path = tmp_path / ("weights.npz" if layout == "authors" else "weights.safetensors")
    export_weights(load_weights("first-mixer", backend="numpy"), path, layout)
    weights = weights_to_begin_with(path)
    assert (weights.architecture, weights.source) == ("mlp_mixer", str(path))
    assert weights.config.gelu == "tanh"
    for name, array in model.parameters.to_numpy().items():
        np.testing.assert_array_equal(weights.parameters[name], array)
    larger, said = MlpMixer(dataclasses.replace(model.config, image_size=64, tokens_mlp_dim=256, num_classes=3)), []
    begin_with(larger, weights, said.append, FineTuningOptions(new_head=True))
    assert "16 arrays of token mixing were expanded from 8 x 8 to 16 x 16 patches" in said[1]
    np.testing.assert_array_equal(larger.parameters["stem.weight"], model.parameters["stem.weight"])
    assert not larger.parameters["head.weight"].any()


def test_a_name_of_published_weights_that_are_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIXER_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not fetched yet: `tinymixer weights fetch mixer-s16-gsam`"):
        weights_to_begin_with("mixer-s16-gsam")
