"""A whole run through the captured GPU step, on the stand-in GPU, beside the same run through the layers on NumPy."""

import json
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest

from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.kernels.fake_cupy import fake_gpu
from tinymixer.backend import CupyBackend, get_backend
from tinymixer.data import Dataset
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.training import Trainer
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


def test_a_run_with_dropout_in_parts_equals_the_one_on_numpy(tmp_path):
    options = {"dropout": 0.2, "micro_batches": 2, "epochs": 2}
    wanted = Trainer(recipe(backend="numpy", **options), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu():
        found = Trainer(recipe(backend="cupy", **options), tmp_path / "run", dataset())
        assert found.engine.name == "cuda"
        found.run()
        assert_same_run(found, wanted)


def test_a_resumed_run_goes_on_exactly(tmp_path, on_numpy):
    with gpu():
        options = recipe(backend="cupy", checkpoint_every_steps=2)
        first = Trainer(options, tmp_path / "run", dataset())
        original = first._save

        def save_and_stop(path):
            original(path)
            if first.step == 8:
                raise KeyboardInterrupt

        with mock.patch.object(first, "_save", save_and_stop), pytest.raises(KeyboardInterrupt):
            first.run()
        again = Trainer(options, tmp_path / "run", dataset(), resume=True)
        again.run()
        assert_same_run(again, on_numpy)


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
