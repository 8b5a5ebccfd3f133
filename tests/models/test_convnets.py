"""ResNet, BiT, NF-ResNet, BoTNet: their sizes, that they learn, and what batch norm's whole batches mean for a run."""

import dataclasses

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tests.training.small_runs import Recorder, StopAfter, assert_same_checkpoint, small_dataset, small_recipe
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.engines.independence import require_shareable
from tinymixer.engines.step import train_step
from tinymixer.errors import ConfigError, ShapeError, TrainingError
from tinymixer.models import config_class, make_model, model_class
from tinymixer.models.nf_resnet import RELU_GAIN
from tinymixer.models.summary import layer_rows
from tinymixer.optim import AdamW
from tinymixer.training import Trainer, load_checkpoint, load_run

NAMES = ("resnet", "bit", "nf_resnet", "botnet")
BATCH_NORM = ("resnet", "botnet")
IMAGENET = {"image_size": 224, "num_classes": 1000, "width": 64, "stem": "imagenet"}
SMALL = {"image_size": 8, "in_channels": 1, "width": 4, "depths": "1-1"}


def small(name, dtype="float32", **more):
    return make_model(name, config_class(name)(**SMALL | more), dtype=dtype, seed=1)


def test_parameter_counts_are_those_of_the_papers_networks():
    fifty = IMAGENET | {"depths": "3-4-6-3", "block": "bottleneck"}
    assert config_class("resnet")(**IMAGENET).parameter_count == 11_689_512  # ResNet-18
    assert config_class("resnet")(**fifty).parameter_count == 25_557_032  # ResNet-50
    assert config_class("bit")(**fifty, groups=32).parameter_count == 25_549_352  # BiT-R50x1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_built_model_has_the_parameters_of_its_configuration(name, block):
    model = small(name, block=block)
    assert model.parameters.count == model.config.parameter_count == sum(row.parameters for row in layer_rows(model))
    assert type(model).independent_images == (name not in BATCH_NORM)
    assert bool(model.parameters.buffer_names) == (name in BATCH_NORM)


@pytest.mark.parametrize("depths", ["", "2-", "2-x", "0-2", "-1", "2,2", "2.5", "²"])
def test_depths_are_whole_numbers(depths):
    with pytest.raises(ConfigError, match="'depths' expects whole numbers above 0"):
        config_class("resnet")(depths=depths)


def test_sizes_that_do_not_fit_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match="'groups' 3 does not divide 'width' 20"):
        config_class("bit")(groups=3)
    with pytest.raises(ConfigError, match="an NF-ResNet has 2,000 blocks, more than the limit"):
        config_class("nf_resnet")(depths="2000")
    with pytest.raises(ConfigError, match="parameters, more than the limit"):
        config_class("resnet")(width=5000)


@pytest.mark.parametrize("name", NAMES)
def test_one_batch_of_32_is_learned_by_heart(name):
    model, generator = small(name, "float32", image_size=4, width=8, depths="1"), np.random.default_rng(0)
    images, labels = generator.normal(size=(32, 4, 4, 1)).astype("float32"), np.arange(32) % 10
    optimizer = AdamW(model.parameters, weight_decay=0.0)

    def learn(thread):
        for _ in range(150):
            result = train_step(model, optimizer, images, labels, 0.02)
        return result

    last = ThreadTeam(1).run(learn)[0]  # BLAS too takes one thread: these products are small
    assert (last.correct, last.loss < 0.1) == (32, True)


@pytest.mark.parametrize("name", NAMES)
def test_on_the_strict_library_a_model_says_what_it_says_on_numpy(name):
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    found = []
    for backend in ("numpy", STRICT):
        config = config_class(name)(**SMALL | {"stem": "imagenet"})
        model = make_model(name, config, backend=backend, seed=1)
        model.parameters["head.weight"][...] += 1
        logits, cache = model.forward(model.backend.asarray(images), train=True)
        dimages = model.backward(logits, cache)
        model.update_buffers(cache)
        parameters, to_numpy = model.parameters, model.backend.to_numpy
        found.append([to_numpy(x) for x in (logits, dimages, parameters.gradients, parameters.buffers)])
    for ours, strict in zip(*found, strict=True):
        np.testing.assert_allclose(strict, ours, rtol=1e-6, atol=1e-7)


def test_batch_norm_learns_its_statistics_and_predicts_with_them():
    model, images = small("resnet", "float64"), 5 + np.random.default_rng(0).normal(size=(16, 8, 8, 1))
    model.parameters["head.weight"][...] = np.random.default_rng(1).normal(size=model.parameters.shape("head.weight"))
    before = model.parameters.buffers.copy()
    in_training, cache = model.forward(images, train=True)
    np.testing.assert_array_equal(model.parameters.buffers, before)
    for _ in range(200):
        model.update_buffers(cache)
    kept = model.forward(images)[0]
    np.testing.assert_allclose(kept, in_training, rtol=0.2, atol=0.1)  # but for n / (n - 1)
    np.testing.assert_allclose(model.forward(images[:1])[0], kept[:1], rtol=1e-9)  # an image by itself
    model.update_buffers(model.forward(images)[1])  # of a pass outside of training: nothing to learn
    np.testing.assert_array_equal(model.forward(images)[0], kept)


def test_an_nf_resnet_keeps_the_variance_of_its_activations():
    """Section 3: every branch keeps the variance, so x has 1 + alpha^2 after the first block."""
    model = make_model("nf_resnet", config_class("nf_resnet")(image_size=16, width=64, depths="2-1"), seed=0)
    x = np.random.default_rng(0).normal(size=(16, 16, 16, 3)).astype("float32")
    variances = []
    for layer in model.chain.layers[:4]:
        x, _ = layer.forward(x)
        variances.append(float(x.var(axis=(0, 1, 2)).mean() + x.mean(axis=(0, 1, 2)).var()))
    assert variances[0] == pytest.approx(1, abs=0.2)  # the stem
    assert variances[2] == pytest.approx(1.08, abs=0.35)  # two blocks later
    assert pytest.approx(0.5 - 1 / (2 * np.pi)) == RELU_GAIN**-2  # the variance of relu(z): E[relu(z)^2] - E[relu(z)]^2


def test_micro_batches_of_batch_norm_are_said_to_train_something_else(tmp_path):
    def notes_of(model, out):
        heard = Recorder()
        Trainer(small_recipe(micro_batches=2, epochs=1), tmp_path / out, small_dataset(), heard, model=model)
        return " ".join(heard.notes)

    assert "ResNet does not treat images independently of each other (batch norm" in notes_of(small("resnet"), "a")
    assert "micro_batches" not in notes_of(small("bit"), "b")
    assert "micro_batches" not in notes_of(small("nf_resnet"), "c")


def test_batches_of_batch_norm_are_not_shared_out_over_ranks(tmp_path):
    trainer = Trainer(small_recipe(epochs=1), tmp_path / "run", small_dataset(), model=small("resnet"))
    with pytest.raises(TrainingError, match=r"ResNet does not say .* \(batch norm .*in one process"):
        require_shareable(trainer.model, trainer.engine.work, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_prints_itself(name):
    assert model_class(name)(config_class(name)(**SMALL)).summary()


def started(tmp_path, weights, **changes):
    """A trainer of a ResNet that starts from weights, and what it says."""
    heard = Recorder()
    recipe = small_recipe(epochs=1).with_overrides({"architecture": "resnet", "width": 4, "depths": "1-1"} | changes)
    folder = tmp_path / f"from-{len(list(tmp_path.iterdir()))}"
    trainer = Trainer(recipe, folder, small_dataset(), heard, init_from=weights)
    return trainer, " ".join(heard.notes)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A run of a ResNet that averages its weights."""
    folder = tmp_path_factory.mktemp("resnet") / "run"
    changes = {"architecture": "resnet", "width": 4, "depths": "1-1", "ema_decay": 0.9, "ema_every": 1}
    Trainer(small_recipe(epochs=1).with_overrides(changes), folder, small_dataset()).run()
    return folder


def test_a_frozen_part_keeps_its_statistics_and_computes_with_them(tmp_path, resnet):
    trainer, notes = started(tmp_path, resnet, freeze="stem, stages.0", weight_decay=0.1)
    assert "parameters, which do not change; the statistics of 3 layers stay as they are, too" in notes
    parameters = trainer.model.parameters
    before = parameters.to_numpy() | parameters.buffers_to_numpy()
    images = np.random.default_rng(0).normal(3, 2, (8, 8, 8, 1)).astype("float32")
    stem = trainer.model.chain.layers[:3]
    for train in (True, False):
        x = images
        for layer in stem:
            x, _ = layer.forward(x, train=train)
        before.setdefault("stem's output", x)
        np.testing.assert_array_equal(x, before["stem's output"])  # in training as in evaluation
    trainer.run()
    after = parameters.to_numpy() | parameters.buffers_to_numpy()
    for name, array in after.items():
        frozen = name.startswith(("stem.", "stages.0."))
        assert np.array_equal(array, before[name]) == frozen, name
    assert load_checkpoint(tmp_path / "from-0" / "last.npz").recipe.architecture == "resnet"
    half, notes = started(tmp_path, resnet, freeze="stem.convolution")  # its batch norm is trained
    assert "statistics" not in notes
    assert not half.model.chain.layers[1].parameters.buffers_are_constant


def test_weights_of_other_classes_depths_and_models(tmp_path, resnet):
    lent = load_run(resnet).model.parameters
    deeper, notes = started(tmp_path, resnet, depths="1-2")
    assert "20 of 26 arrays are loaded; newly initialised: stages.1.1.branch" in notes
    ours = deeper.model.parameters
    assert ours.buffer("stages.1.1.branch.norm1.mean").max() == 0
    for name in lent.buffer_names:  # with its weights each layer takes its statistics
        np.testing.assert_array_equal(ours.buffer(name), lent.buffer(name))
    three = small_dataset()
    kept = three.train_labels < 3
    three = dataclasses.replace(
        three, train_images=three.train_images[kept], train_labels=three.train_labels[kept],
        test_images=three.test_images[:0], test_labels=three.test_labels[:0], class_names=("a", "b", "c"),
    )  # fmt: skip
    recipe = small_recipe(epochs=1).with_overrides({"architecture": "resnet", "width": 4, "depths": "1-1"})
    heard = Recorder()
    trainer = Trainer(recipe, tmp_path / "three", three, heard, init_from=resnet)
    assert "newly initialised: head.weight, head.bias; not used: head.weight, head.bias" in heard.notes[0]
    np.testing.assert_array_equal(trainer.model.parameters.buffers, lent.buffers)
    again, notes = started(tmp_path, resnet)
    assert f"starts from the averaged weights of {resnet}: all 20 arrays are loaded" in notes
    np.testing.assert_array_equal(again.model.parameters.values, lent.values)
    np.testing.assert_array_equal(again.model.parameters.buffers, lent.buffers)
    assert f"weights of {resnet} (a resnet; this is a bit)" in started(tmp_path, resnet, architecture="bit")[1]
    with pytest.raises(ConfigError, match=r"do not count\): it holds a resnet, and this is a vit; fine-tuning needs"):
        started(tmp_path, resnet, architecture="vit", hidden_dim=8, heads=2, width=None, depths=None)


def test_averaged_weights_are_evaluated_with_the_averages_statistics(resnet):
    checkpoint = load_checkpoint(resnet / "last.npz")
    runs = {averaged: load_run(resnet, "last", averaged=averaged) for averaged in (True, False)}
    found = {averaged: run.model.parameters.buffers_to_numpy() for averaged, run in runs.items()}
    for name, raw in checkpoint.buffers.items():
        np.testing.assert_array_equal(found[False][name], raw)
        np.testing.assert_array_equal(found[True][name], checkpoint.average[f"buffers/{name}"])
    assert np.abs(found[True]["stem.norm.variance"] - found[False]["stem.norm.variance"]).max() > 1e-4
    assert [run.kind for run in runs.values()] == ["averaged weights", "raw weights"]
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rows = [np.array(run.predict(picture).probabilities) for run in runs.values()]
    assert np.abs(rows[0] - rows[1]).max() > 1e-7


def test_a_stopped_run_with_batch_norm_goes_on_exactly(tmp_path):
    changes = {"architecture": "resnet", "width": 4, "depths": "1", "ema_decay": 0.9, "sam_rho": 0.1, "mixup": 0.4}
    recipe = small_recipe(epochs=2, threads=1).with_overrides(changes)
    for folder, stops in (("whole", ()), ("parts", (3,))):
        for stop in stops:
            resume = (tmp_path / folder).exists()
            Trainer(recipe, tmp_path / folder, small_dataset(), StopAfter(stop), resume).run()
        Trainer(recipe, tmp_path / folder, small_dataset(), resume=bool(stops)).run()
    assert_same_checkpoint(tmp_path / "parts" / "last.npz", tmp_path / "whole" / "last.npz")


def test_a_batch_of_one_value_of_a_channel_is_refused(tmp_path):
    recipe = small_recipe(epochs=1, batch_size=2, micro_batches=2)
    model = small("resnet", image_size=8, depths="1-1-1-1")
    with pytest.raises(ShapeError, match="batch norm needs at least 2 values of a channel in a batch"):
        Trainer(recipe, tmp_path / "run", small_dataset(), model=model).run()
