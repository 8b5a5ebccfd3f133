"""A run begins with weights that were trained before; the package brings some."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.training.small_runs import Recorder, run_small, small_dataset, small_recipe
from tinymixer import MixerConfig, MlpMixer
from tinymixer.draws import Draws
from tinymixer.engines import Work, choose_engine, train_step
from tinymixer.engines.cuda.cuda_engine import CudaEngine
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.optim import ParameterGroup
from tinymixer.pretrained import export_weights
from tinymixer.training import Trainer, load_checkpoint, load_recipe, load_run
from tinymixer.training.build import make_optimizer
from tinymixer.training.fine_tuning import StartingWeights, begin_with, weights_to_begin_with
from tinymixer.training.loading import find_weights, shipped_weights
from tinymixer.training.options import FineTuningOptions
from tinymixer.training.parts import frozen_words, groups_of
from tinymixer.training.weights import load_weights


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
    assert "drawn anew: head.weight, head.bias; not used: head.weight, head.bias" in sentence
    other = MlpMixer(MixerConfig(hidden_dim=20, num_blocks=1, num_classes=7))
    with pytest.raises(ConfigError, match="no array of first has the name and the shape"):
        begin_with(other, StartingWeights.of(checkpoint, "first"), said.append)


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
    assert "the head is new and begins at zero" in heard.notes
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
    assert said[0].startswith("8 arrays of token mixing were expanded")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("overrides", "side", "width", "words"),
    [
        ({}, 12, 4, "interpolated from 2 x 2 to 3 x 3 patches, which is an approximation"),
        ({"resize_tokens": "off"}, 16, 4, r"drawn anew: blocks\.0\.token_mixing\.weight1"),
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


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_parts_stay_bit_for_bit(trained, engine, optimizer):
    """Under weight decay of everything, too, and in each engine."""
    recipe = small_recipe(
        freeze="stem, blocks.0", engine=engine, optimizer=optimizer, weight_decay=0.1, decay="all", micro_batches=2
    )
    model = load_run(trained, backend="numpy").model
    rule = make_optimizer(recipe, model.parameters)
    computing = choose_engine(model, recipe.training, optimizer=rule)
    assert computing.name == engine
    before, rng = model.parameters.to_numpy(), np.random.default_rng(0)
    for step in range(3):
        images, labels = rng.normal(size=(8, 8, 8, 1)).astype(np.float32), rng.integers(0, 10, 8)
        draws = Draws(0, 0, step, np.arange(8))
        train_step(computing, rule, images, labels, 0.05, rng=draws, micro_batches=2)
    for name, array in model.parameters.to_numpy().items():
        if name.startswith(("stem.", "blocks.0.")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        elif not name.endswith("token_mixing.bias2"):  # LayerNorm takes it out again: its gradient is zero
            assert not np.array_equal(array, before[name]), name
    words = frozen_words(rule.groups, model.parameters)
    count = sum(before[name].size for name in before if name.startswith(("stem.", "blocks.0.")))
    assert words == f"frozen: stem.*, blocks.0.*, {count} of {model.parameters.count:,} parameters, which do not change"


def test_the_cuda_engine_leaves_groups_to_the_next_one(trained):
    """It updates all parameters alike, so a run with frozen parts on a GPU takes the reference engine."""
    model = load_run(trained, backend="numpy").model
    recipe = small_recipe(freeze="stem", **{"training.backend": "numpy"})
    optimizer = make_optimizer(recipe, model.parameters)
    assert optimizer.uses_groups
    work = Work(np.zeros((8, 8, 8, 1), np.uint8), np.zeros(8, int), np.zeros(1), np.ones(1), 8, recipe.augmentation)
    on_a_gpu = SimpleNamespace(backend=SimpleNamespace(name="cupy"), config=model.config)
    obstacle = CudaEngine.obstacle(on_a_gpu, recipe.training, work, optimizer)
    assert obstacle == "it treats all parameters alike (no parameter groups)"


def test_a_learning_rate_for_each_part(trained):
    """One step of plain SGD: a part with the factor 0.1 moves a tenth as far."""
    moved = {}
    for factors in ("", "stem=0.1, blocks.1=0"):
        recipe = small_recipe(
            learning_rate_factors=factors, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.0
        )
        model = load_run(trained, backend="numpy").model
        before = model.parameters.to_numpy()
        optimizer = make_optimizer(recipe, model.parameters)
        model.parameters.gradients[...] = 1
        optimizer.step(0.5)
        moved[factors] = {name: array - before[name] for name, array in model.parameters.to_numpy().items()}
    for name, whole in moved[""].items():
        factor = 0.1 if name.startswith("stem.") else 0 if name.startswith("blocks.1.") else 1
        np.testing.assert_allclose(moved["stem=0.1, blocks.1=0"][name], factor * whole, atol=1e-6)


def test_which_groups_a_run_has():
    names = MlpMixer(small_recipe().model).parameters.names
    recipe = dataclasses.replace(
        small_recipe(freeze="head", learning_rate_factors="blocks.0.channel_*=0.5"),
        groups=(ParameterGroup("head.*", learning_rate_factor=10), ParameterGroup("blocks.*", weight_decay=0)),
    )
    assert groups_of(recipe, names) == [
        ParameterGroup("head.*", frozen=True),
        ParameterGroup("blocks.0.channel_*", learning_rate_factor=0.5),
        ParameterGroup("blocks.*", weight_decay=0),
    ]
    with pytest.raises(ConfigError, match=r"the model has no part 'heat'.*Did you mean 'head'"):
        groups_of(small_recipe(freeze="heat"), names)
    with pytest.raises(ConfigError, match=r"'blocks\.0' is frozen, so it has no learning rate"):
        groups_of(small_recipe(freeze="blocks.*", learning_rate_factors="blocks.0=2"), names)
    for text in ("stem", "stem=", "=1", "stem=-1", "stem=nan", "stem=inf", "stem=1=2"):
        with pytest.raises(ConfigError, match="expects parts and factors such as"):
            small_recipe(learning_rate_factors=text)


def test_what_fine_tuning_refuses(tmp_path, trained):
    with pytest.raises(ConfigError, match=r"takes the model's sizes from the weights .* say which, --init-from RUN"):
        fine_tune(tmp_path / "run", None)
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
