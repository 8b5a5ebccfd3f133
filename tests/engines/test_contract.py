"""One contract for every model and every engine: the same losses, gradients, logits and checkpoints, bit for bit."""

import warnings

import numpy as np
import pytest

from tests.engines.own_models import CONFIG, BatchCentred, KeepsItsCache, TwiceTheLogits, with_another_block, with_relu
from tests.layers.running_mean import CentredModel
from tests.training.small_runs import Recorder, StopAfter, assert_same_checkpoint, small_dataset, small_recipe
from tinymixer.draws import Draws
from tinymixer.engines import EngineOptions, ReferenceEngine, choose_engine
from tinymixer.engines.cpu import CpuMixer
from tinymixer.engines.reference import loss_and_gradients
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models import MixerConfig, architectures, config_class, has_independent_images, make_model
from tinymixer.training import Recipe, Trainer, evaluate, load_run, read_rows

SIZES = {"image_size": 8, "in_channels": 1, "patch_size": 4, "hidden_dim": 8, "num_blocks": 2} | {
    "width": 4,
    "depths": "1-1",
}
DROPPED = {"dropout": 0.2, "drop_path": 0.3}
ENGINES = ("reference", "cpu")
MODELS = [(name, {}) for name in architectures()] + [
    ("mlp_mixer", {"tokens": kind}) for kind in ("linear", "pool", "attention", "none")
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def made(name, more, dtype="float64", **fields):
    options = config_class(name)
    names = [info.name for info in options.field_infos()]
    values = {key: value for key, value in (SIZES | DROPPED | more | fields).items() if key in names}
    model = make_model(name, options(**values), dtype=dtype, seed=3)
    model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.1, model.parameters.values.shape)
    return model


def batch(images=21, dtype="float64"):
    generator = np.random.default_rng(1)
    return generator.normal(size=(images, 8, 8, 1)).astype(dtype), generator.integers(0, 10, images)


def engine_for(model, name, **options):
    """The engine of that name; None where that is not written for the model, which the reference engine then takes."""
    chosen = EngineOptions(engine=name, **{"threads": 2, "slice_images": 4} | options)
    if name == "cpu" and CpuMixer.obstacle(model, chosen, None, None) is not None:
        with pytest.raises(ConfigError, match="the cpu engine cannot compute this"):
            choose_engine(model, chosen)
        assert type(choose_engine(model, EngineOptions(threads=2))) is ReferenceEngine
        return None
    return choose_engine(model, chosen)


def relative(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "more"), MODELS)
def test_loss_gradients_and_logits_are_those_of_the_whole_batch(name, more, engine, dtype):
    model, (images, labels) = made(name, more, dtype), batch(dtype=dtype)
    computed = engine_for(model, engine)
    if computed is None:
        return
    draws = Draws(5, 1, 2, np.arange(len(images)))
    loss, correct = loss_and_gradients(model, images, labels, 0.1, draws)
    expected = model.parameters.gradients.copy()
    for _ in range(2):  # the first batch is the one that is checked
        model.parameters.zero_gradients()
        found = computed.loss_and_gradients(images, labels, 0.1, draws)
        assert found == (pytest.approx(float(loss), rel=TOLERANCE[dtype]), int(correct))
        assert relative(model.parameters.gradients, expected) < TOLERANCE[dtype]
    assert computed.note is None
    whole = model.forward(images)[0]
    for _ in range(2):
        assert relative(computed.logits(images), whole) < TOLERANCE[dtype]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "more"), MODELS)
def test_micro_batches_change_no_mask(name, more, engine):
    model, (images, labels) = made(name, more), batch(20)
    computed = engine_for(model, engine)
    if computed is None:
        return
    if not has_independent_images(model):  # batch norm: micro-batches give other numbers, and the run says so
        pytest.skip(f"{name} computes with the whole batch's statistics")
    draws = Draws(5, 1, 2, np.arange(20))
    computed.loss_and_gradients(images, labels, 0.0, draws)
    whole = model.parameters.gradients.copy()
    model.parameters.zero_gradients()
    for part in (slice(0, 7), slice(7, 20)):
        computed.loss_and_gradients(images[part], labels[part], 0.0, draws.part(part), (part.stop - part.start) / 20)
    assert relative(model.parameters.gradients, whole) < 1e-12


def recipe_for(name, more, engine, **overrides):
    names = [info.name for info in config_class(name).field_infos()]
    model = {key: value for key, value in (SIZES | DROPPED | more).items() if key in names}
    tables = small_recipe().to_dict() | {"model": {"architecture": name} | model}
    tables["training"] |= {"engine": engine, "threads": 2, "slice_images": 2, "epochs": 2} | overrides
    return Recipe.from_dict(tables)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "more"), MODELS)
def test_a_run_resumes_bit_for_bit_and_its_checkpoint_evaluates_alike(name, more, engine, tmp_path):
    if engine == "cpu" and engine_for(made(name, more), "cpu") is None:
        return
    recipe, data = recipe_for(name, more, engine), small_dataset()
    whole = Trainer(recipe, tmp_path / "whole", data)
    whole.run()
    assert Trainer(recipe, tmp_path / "parts", data, StopAfter(3)).run().status == "interrupted"
    assert Trainer(recipe, tmp_path / "parts", data, resume=True).run().status == "finished"
    assert_same_checkpoint(tmp_path / "whole" / "last.npz", tmp_path / "parts" / "last.npz")
    loaded = load_run(tmp_path / "whole", "last")
    assert loaded.recipe.architecture == name
    found = evaluate(loaded.model, data.test_images, data.test_labels, data.mean, data.std)
    assert found.accuracy == read_rows(tmp_path / "whole" / "metrics.jsonl")[-1]["test_accuracy"]
    np.testing.assert_array_equal(
        found.predictions, evaluate(whole.engine, data.test_images, data.test_labels, data.mean, data.std).predictions
    )


class TestOwnModels:
    def digits(self):
        data = small_dataset()
        return data.test_images, data.test_labels, data.mean, data.std

    @pytest.mark.parametrize("make", [TwiceTheLogits, KeepsItsCache, BatchCentred])
    def test_no_fast_engine_takes_a_subclass(self, make):
        assert CpuMixer.obstacle(make(CONFIG), EngineOptions(), None, None) is not None
        assert type(choose_engine(make(CONFIG))) is ReferenceEngine
        with pytest.raises(ConfigError, match="MlpMixer"):
            CpuMixer(make(CONFIG))

    @pytest.mark.parametrize("make", [TwiceTheLogits, with_relu, with_another_block])
    def test_evaluation_follows_the_model_as_it_is(self, make):
        model = make(CONFIG, seed=1, dtype="float64")
        model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.3, model.parameters.values.shape)
        images, labels, mean, std = self.digits()
        pixels = (images / 255 - mean) / std
        shifted = model.forward(pixels)[0]
        expected = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        found = evaluate(model, images, labels, mean, std).probabilities
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    @pytest.mark.parametrize(
        ("make", "words"),
        [(BatchCentred, "are not independent"), (KeepsItsCache, "keeps something of the data in 'kept'")],
    )
    def test_a_claim_that_does_not_hold_is_found_out_and_said(self, make, words):
        model, (images, labels) = make(CONFIG, dtype="float64"), batch()
        model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.1, model.parameters.values.shape)
        loss_and_gradients(model, images, labels)
        expected = model.parameters.gradients.copy()
        engine = ReferenceEngine(model, threads=2, slice_images=4)
        for _ in range(2):
            model.parameters.zero_gradients()
            engine.loss_and_gradients(images, labels)
            np.testing.assert_array_equal(model.parameters.gradients, expected)
        assert words in engine.note
        assert "whole" in engine.description

    def test_evaluation_warns_of_such_a_claim(self):
        model = BatchCentred(CONFIG, dtype="float64")
        model.parameters.values[...] += np.random.default_rng(0).normal(0, 0.1, model.parameters.values.shape)
        with pytest.warns(UserWarning, match="not independent"):
            evaluate(model, *self.digits())

    def test_what_says_nothing_is_computed_whole(self):
        class Silent(TwiceTheLogits):
            def forward(self, images, train=False, rng=None):
                assert len(images) == 21
                return super().forward(images, train, rng)

        engine = ReferenceEngine(Silent(CONFIG, dtype="float64"), threads=2, slice_images=4)
        engine.loss_and_gradients(*batch())
        assert "does not say independent_images = True" in engine.description

    def test_a_model_is_trained_saved_resumed_and_loaded(self, tmp_path):
        recipe, data = small_recipe(), small_dataset()
        Trainer(recipe, tmp_path / "whole", data, model=TwiceTheLogits(CONFIG)).run()
        Trainer(recipe, tmp_path / "parts", data, StopAfter(3), model=TwiceTheLogits(CONFIG)).run()
        Trainer(recipe, tmp_path / "parts", data, resume=True, model=TwiceTheLogits(CONFIG)).run()
        assert_same_checkpoint(tmp_path / "whole" / "last.npz", tmp_path / "parts" / "last.npz")
        with pytest.raises(CheckpointError, match="build it as for training"):
            load_run(tmp_path / "whole")
        loaded = load_run(tmp_path / "whole", model=TwiceTheLogits(CONFIG))
        found = evaluate(loaded.model, data.test_images, data.test_labels, data.mean, data.std)
        assert found.accuracy == read_rows(tmp_path / "whole" / "metrics.jsonl")[-1]["test_accuracy"]
        other = MixerConfig(**CONFIG.to_dict() | {"hidden_dim": 16})
        with pytest.raises(CheckpointError, match="another configuration"):
            load_run(tmp_path / "whole", model=TwiceTheLogits(other))
        with pytest.raises(ConfigError, match="pass it in"):
            Trainer(load_run(tmp_path / "whole", model=TwiceTheLogits(CONFIG)).recipe, tmp_path / "new", data)

    def test_a_changed_stock_model_is_not_taken_for_the_stock_one(self, tmp_path):
        Trainer(small_recipe(), tmp_path / "run", small_dataset(), model=with_relu()).run()
        with pytest.raises(CheckpointError, match="build it as for training"):
            load_run(tmp_path / "run")

    def test_weights_that_would_not_be_trained_are_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="neither trained nor saved"):
            Trainer(small_recipe(), tmp_path / "run", small_dataset(), model=with_another_block())

    def test_the_sentence_reaches_the_run(self, tmp_path):
        heard = Recorder()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            recipe = small_recipe(threads=2, slice_images=2)
            Trainer(recipe, tmp_path / "run", small_dataset(), heard, model=BatchCentred(CONFIG)).run()
        assert any("not independent" in note for note in heard.notes)


def test_buffers_under_slices_and_micro_batches():
    generator = np.random.default_rng(2)
    images, labels = generator.normal(size=(18, 4, 4, 1)), generator.integers(0, 3, 18)

    def after(step):
        model = CentredModel(dtype="float64", seed=1)
        for _ in range(3):
            step(model)
            model.parameters.apply_buffer_change()
        return model.parameters.buffers.copy()

    whole = after(lambda model: loss_and_gradients(model, images, labels))

    def in_slices(model, engine={}):  # noqa: B006
        engine.setdefault(id(model), ReferenceEngine(model, threads=2, slice_images=4)).loss_and_gradients(
            images, labels
        )

    def in_parts(model):
        for part in (slice(0, 5), slice(5, 18)):
            loss_and_gradients(model, images[part], labels[part], share=(part.stop - part.start) / 18)

    np.testing.assert_allclose(after(in_slices), whole, rtol=1e-12)
    np.testing.assert_allclose(after(in_parts), whole, rtol=1e-12)
    assert np.any(whole)
