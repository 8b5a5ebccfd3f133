"""A run with all that the GPU's recipes use: Muon, groups, averaged weights, an overlapping whitened stem, strong
augmentation and mixing, on the stand-in GPU beside the same run through the layers on NumPy."""

import json

import numpy as np
import pytest

from tests.engines.cuda.test_cuda_engine import RECIPE, dataset, gpu, interrupted_and_resumed
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tinymixer.training import Trainer
from tinymixer.training.recipe import Recipe

pytestmark = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
EVERYTHING = {
    **RECIPE,
    "model": RECIPE["model"] | {"overlap": 2, "whitened_stem": True, "hidden_dim": 16, "num_blocks": 1},
    "augmentation": {
        "crop_padding": 1, "flip": True, "alternate_flip": True, "mixup": 0.8, "cutmix": 1.0,
        "transforms": "rotate(20, 0.5) trivial_augment",
    },
    "optimizer": {"optimizer": "muon", "learning_rate": 0.01, "weight_decay": 0.1, "ema_decay": 0.9, "ema_every": 2},
    "fine_tuning": {"learning_rate_factors": "head=0.5"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_workspaces(monkeypatch):
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)


def recipe(**overrides):
    return Recipe.from_dict(EVERYTHING).with_overrides(overrides)


def rows(trainer):
    return [json.loads(line) for line in trainer.folder.metrics.read_text().splitlines()]


def test_a_run_equals_the_one_on_numpy(tmp_path):
    """Validated and tested with the averaged weights."""
    wanted = Trainer(recipe(backend="numpy", epochs=2), tmp_path / "numpy", dataset())
    wanted.run()
    with gpu():
        found = Trainer(recipe(backend="cupy", epochs=2), tmp_path / "run", dataset())
        assert found.engine.name == "cuda"
        assert found.engine.way == "captured"
        assert found.engine.proof.passed
        stem = found.model.parameters.to_numpy()["stem.weight"]
        found.run()
    assert found.average.updates == wanted.average.updates == found.optimizer.steps // 2 > 0
    for ours, theirs in zip(rows(found), rows(wanted), strict=True):
        assert ours["averaged"]
        assert theirs["averaged"]
        for name in ("train_loss", "validation_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
    np.testing.assert_array_equal(found.model.parameters.to_numpy()["stem.weight"], stem)
    for ours, theirs in (
        (found.model.parameters.to_numpy(), wanted.model.parameters.to_numpy()),
        (found.average.state_dict(), wanted.average.state_dict()),
    ):
        for name, array in theirs.items():
            if "mixing.weight" in name or "stem.weight" in name:
                np.testing.assert_allclose(ours[name], array, rtol=2e-3, atol=2e-4, err_msg=name)


def test_a_resumed_float16_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch):
    """Although its first steps are left out, so that steps and updates of the average count differently."""
    monkeypatch.setattr("tinymixer.engines.cuda.device_update.FIRST_LOSS_SCALE", 2.0**26)
    with gpu():
        options = recipe(backend="cupy", precision="float16", checkpoint_every_steps=2, epochs=2,
                         check_kernels="never")  # fmt: skip
        whole = Trainer(options, tmp_path / "whole", dataset())
        whole.run()
        again = interrupted_and_resumed(options, tmp_path / "broken off", 6)
    assert whole.optimizer.steps < whole.step
    assert again.average.updates == whole.average.updates == whole.optimizer.steps // 2
    for found, wanted in (
        (again.model.parameters.values, whole.model.parameters.values),
        (again.optimizer.state["mean"], whole.optimizer.state["mean"]),
        (again.average.values, whole.average.values),
    ):
        np.testing.assert_array_equal(found.get(), wanted.get())
