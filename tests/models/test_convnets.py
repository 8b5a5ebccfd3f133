"""ResNet, BiT, NF-ResNet, BoTNet: their sizes, that they learn, and what batch norm's whole batches mean for a run."""

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tests.training.small_runs import Recorder, small_dataset, small_recipe
from tinymixer.engines.cpu.threads import ThreadTeam
from tinymixer.engines.independence import require_shareable
from tinymixer.engines.step import train_step
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.models import config_class, make_model, model_class
from tinymixer.models.nf_resnet import RELU_GAIN
from tinymixer.models.summary import layer_rows
from tinymixer.optim import AdamW
from tinymixer.training import Trainer, load_run

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


def test_multiply_adds_of_resnet_18():
    """1.81 billion for an image of 224 pixels a side, as everybody counts them (He et al. 2016, table 1: 1.8e9)."""
    rows = layer_rows(make_model("resnet", config_class("resnet")(**IMAGENET), seed=None))
    assert sum(row.multiply_adds for row in rows) == 1_814_073_344
    assert rows[0].output == (112, 112, 64)


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
    with pytest.raises(TrainingError, match=r"ResNet does not say independent_images = True.*Train it in one process"):
        require_shareable(trainer.model, trainer.engine.work, None)


def test_a_run_with_batch_norm_lends_weights_and_statistics_to_another(tmp_path):
    recipe = small_recipe(epochs=1).with_overrides(
        {"architecture": "resnet", "width": 4, "depths": "1", "ema_decay": 0.9}
    )
    Trainer(recipe, tmp_path / "first", small_dataset()).run()
    lent = load_run(tmp_path / "first", "best").model
    second = Trainer(recipe, tmp_path / "second", small_dataset(), init_from=tmp_path / "first")
    np.testing.assert_array_equal(second.model.parameters.values, lent.parameters.values)
    np.testing.assert_array_equal(second.model.parameters.buffers, lent.parameters.buffers)
    assert lent.parameters.buffers.any()
    average = np.load(tmp_path / "first" / "last.npz")
    assert any("stem.norm.variance" in name for name in average.files if "average" in name)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_prints_itself(name):
    assert model_class(name)(config_class(name)(**SMALL)).summary()
