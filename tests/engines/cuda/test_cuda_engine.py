"""A whole run through the captured GPU step, on the stand-in GPU, beside the same run through the layers on NumPy."""

import dataclasses
import json
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest

from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cupy import fake_gpu
from tinymixer.backend import CupyBackend, get_backend
from tinymixer.data import Dataset
from tinymixer.engines.cuda import device_update
from tinymixer.errors import CheckpointError, ConfigError, TrainingError
from tinymixer.training import Trainer, checkpoint, evaluate
from tinymixer.training.recipe import Recipe

pytestmark = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)

RECIPE = {
    "model": {
        "image_size": 8, "patch_size": 4, "hidden_dim": 8, "tokens_mlp_dim": 8, "channels_mlp_dim": 16,
        "num_blocks": 2, "drop_path": 0.3, "layer_norm_eps": 1e-3,
    },
    "data": {"validation_share": 0.2},
    "augmentation": {"crop_padding": 2, "flip": True, "cutout": 2},
    "optimizer": {"optimizer": "sgd", "learning_rate": 0.05, "nesterov": True, "clip_norm": 1.0},
    "training": {"precision": "float32", "epochs": 3, "batch_size": 6, "label_smoothing": 0.1, "eval_batch_size": 7},
}  # fmt: skip


def dataset():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8) for count in (33, 10)]
    labels = [rng.integers(0, 3, len(part)) for part in images]
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    return Dataset("toy", images[0], labels[0], images[1], labels[1], ["a", "b", "c"], mean, std)


def recipe(**overrides):
    return Recipe.from_dict(RECIPE).with_overrides(overrides)


@contextmanager
def gpu():
    """The stand-in GPU as the backend "cupy"."""
    with fake_gpu() as cupy:
        from tinymixer import ops

        def chosen(name="auto", kernels="auto"):
            return CupyBackend("cupy", cupy, ops) if name == "cupy" else get_backend(name, kernels)

        with mock.patch("tinymixer.training.build.get_backend", chosen):
            yield


def rows(trainer):
    return [json.loads(line) for line in trainer.folder.metrics.read_text().splitlines()]


@pytest.fixture(scope="module")
def on_numpy(tmp_path_factory):
    trainer = Trainer(recipe(backend="numpy"), tmp_path_factory.mktemp("numpy") / "run", dataset())
    trainer.run()
    return trainer


def assert_same_run(found, wanted):
    for ours, theirs in zip(rows(found), rows(wanted), strict=True):
        assert ours.keys() == theirs.keys()
        for name in set(ours) - {"seconds", "images_per_second", "tested"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
    np.testing.assert_allclose(
        found.model.parameters.to_numpy()["stem.weight"], wanted.model.parameters["stem.weight"], rtol=1e-4, atol=1e-5
    )
    assert found.optimizer.steps == wanted.optimizer.steps


@pytest.mark.parametrize("captured", [True, False])
def test_a_run_equals_the_one_on_numpy(tmp_path, on_numpy, captured):
    with gpu():
        trainer = Trainer(recipe(backend="cupy", captured=captured), tmp_path / "run", dataset())
        assert trainer.engine.captured_step.captured == captured
        trainer.run()
        assert_same_run(trainer, on_numpy)
        ours, theirs = (with_views(each) for each in (trainer, on_numpy))
        np.testing.assert_allclose(ours.with_tta.probabilities, theirs.with_tta.probabilities, rtol=1e-3)
        assert np.abs(ours.probabilities - ours.with_tta.probabilities).max() > 1e-2


def with_views(trainer):
    toy = dataset()
    return evaluate(trainer.engine, toy.test_images, toy.test_labels, toy.mean, toy.std, tta="all")


def test_a_run_with_dropout_in_parts_equals_the_one_on_numpy(tmp_path):
    options = {"dropout": 0.2, "micro_batches": 2, "epochs": 2}
    wanted = Trainer(recipe(backend="numpy", **options), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu():
        found = Trainer(recipe(backend="cupy", **options), tmp_path / "run", dataset())
        assert found.engine.name == "cuda"
        found.run()
        assert_same_run(found, wanted)


STRONG = {
    "alternate_flip": True, "transforms": "rotate(20, 0.4) rand_augment saturation random_erasing", "mixup": 0.8,
    "cutmix": 1.0, "mixing_off": 0.4, "micro_batches": 2, "epochs": 2,
}  # fmt: skip


def test_a_run_with_strong_augmentation_equals_the_one_on_numpy(tmp_path):
    """Mixing ends in the middle of it, in the same recorded graph."""
    wanted = Trainer(recipe(backend="numpy", **STRONG), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu():
        found = Trainer(recipe(backend="cupy", **STRONG), tmp_path / "run", dataset())
        assert found.engine.name == "cuda"
        assert found.engine.way == "captured"
        found.run()
        assert_same_run(found, wanted)


def interrupted_and_resumed(options, path, stop_at):
    """A run that was broken off after the checkpoint at a step, and the one that goes on from there."""
    first = Trainer(options, path, dataset())
    original = first._save

    def save_and_stop(path):
        original(path)
        if first.step == stop_at:
            raise KeyboardInterrupt

    with mock.patch.object(first, "_save", save_and_stop), pytest.raises(KeyboardInterrupt):
        first.run()
    again = Trainer(options, path, dataset(), resume=True)
    again.run()
    return again


def test_a_resumed_run_goes_on_exactly(tmp_path, on_numpy):
    with gpu():
        options = recipe(backend="cupy", checkpoint_every_steps=2)
        again = interrupted_and_resumed(options, tmp_path / "run", 8)
        assert_same_run(again, on_numpy)


def test_a_resumed_float16_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch):
    """The loss scale, how long it has been good, and the steps whose update was left out, go into the checkpoint."""
    monkeypatch.setattr(device_update, "FIRST_LOSS_SCALE", 2.0**28)  # overflows at first
    monkeypatch.setattr(device_update, "GROWTH_INTERVAL", 3)
    with gpu():
        options = recipe(backend="cupy", precision="float16", checkpoint_every_steps=2, epochs=6)
        whole = Trainer(options, tmp_path / "whole", dataset())
        whole.run()
        again = interrupted_and_resumed(options, tmp_path / "broken off", 20)
    assert whole.optimizer.steps < whole.step  # some updates were left out
    state = again.engine.captured_step._update.read()
    assert 1 <= state["loss_scale"] < 2.0**28
    for found, wanted in (
        (again.model.parameters.values, whole.model.parameters.values),
        (again.optimizer.state["velocity"], whole.optimizer.state["velocity"]),
    ):
        np.testing.assert_array_equal(found.get(), wanted.get())
    assert again.optimizer.steps == whole.optimizer.steps
    wanted = whole.engine.captured_step._update.read()
    for name in ("loss_scale", "good_steps"):
        assert state[name] == wanted[name], name
    before, after = (dict(np.load(run.folder.last)) for run in (whole, again))
    assert {name for name in before if name.startswith("engine/")} == {
        "engine/loss_scale", "engine/good_steps", "engine/skipped",
    }  # fmt: skip
    for name in ("engine/loss_scale", "engine/good_steps", "engine/skipped"):
        assert before[name] == after[name], name


def test_a_float16_checkpoint_without_a_loss_scale_begins_with_the_default(tmp_path):
    """As versions before this one wrote them."""
    with gpu():
        options = recipe(backend="cupy", precision="float16", checkpoint_every_steps=2)
        written = checkpoint.save_checkpoint

        def without_it(path, kept, say):
            written(path, dataclasses.replace(kept, engine={}), say)

        with mock.patch("tinymixer.training.saving.save_checkpoint", without_it):
            again = interrupted_and_resumed(options, tmp_path / "run", 6)
        assert again.state.epoch == 3
        assert again.engine.captured_step._update.read()["loss_scale"] == 2.0**13


@pytest.mark.parametrize(
    ("name", "value"), [("loss_scale", np.float32(0)), ("loss_scale", np.ones(2, np.float32)), ("good_steps", -1)]
)
def test_a_loss_scale_that_cannot_be_is_refused(tmp_path, name, value):
    with gpu():
        engine = Trainer(recipe(backend="cupy", precision="float16"), tmp_path / "run", dataset()).engine
        with pytest.raises(CheckpointError, match=f"the loss scaling's '{name}'"):
            engine.load_state_dict(engine.state_dict() | {name: np.asarray(value)})


def test_a_loss_that_explodes_stops_the_run(tmp_path):
    with gpu(), pytest.raises(TrainingError, match="try a lower learning_rate"):
        Trainer(recipe(backend="cupy", learning_rate=1e30, clip_norm=0), tmp_path / "run", dataset()).run()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"backend": "numpy"}, "it runs on a GPU"),
        ({"backend": "cupy", "kernels": "reference"}, "--kernels reference asks for the generic operations"),
        ({"backend": "cupy", "micro_batches": 4}, "parts of one size"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(tmp_path, overrides, message):
    with gpu(), pytest.raises(ConfigError, match=f"{message}.*precision 'bfloat16' belongs to the cuda engine"):
        Trainer(recipe(precision="bfloat16", **overrides), tmp_path / "run", dataset())


def test_what_the_fused_step_cannot_do_runs_through_the_layers(tmp_path):
    with gpu():
        trainer = Trainer(recipe(backend="cupy", micro_batches=4, epochs=1), tmp_path / "run", dataset())
        assert trainer.engine.name == "reference"
        assert trainer.run().epochs == 1
