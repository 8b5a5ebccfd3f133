"""Runs that average their weights: what is kept, resumed, validated, tested, loaded and refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.layers.running_mean import CentredModel
from tests.training.small_runs import (
    Recorder,
    StopAfter,
    assert_same_checkpoint,
    run_small,
    small_dataset,
    small_recipe,
    without_times,
)
from tests.training.test_checkpoint import rewritten
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.models.image_config import PatchConfig
from tinymixer.training import Trainer, evaluate, load_checkpoint, load_model, load_run, read_rows, save_checkpoint
from tinymixer.training.loading import normalisation
from tinymixer.training.weights import load_weights

EMA = {"learning_rate": 0.05, "ema_decay": 0.9, "ema_every": 2}


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinymixer.analysis.curves.draw_curves", lambda histories, path: path.write_bytes(b""))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of 15 steps, and its weights before the first and after each of them."""
    folder, weights = tmp_path_factory.mktemp("averaged") / "run", []
    recorder = Recorder(lambda step: weights.append(recorder.trainer.model.parameters.to_numpy()))
    trainer = Trainer(small_recipe(**EMA), folder, small_dataset(), recorder)
    weights.append(trainer.model.parameters.to_numpy())
    trainer.run()
    return folder, weights


@pytest.fixture(scope="module")
def run(finished):
    return finished[0]


def evaluated(loaded, part):
    """The run's model on its own validation or test images."""
    data = small_dataset()
    indices = data.split(0.2, loaded.recipe.training.seed)[1] if part == "validation" else None
    images, labels = (data.test_images, data.test_labels) if indices is None else (data.train_images, data.train_labels)
    return evaluate(loaded.model, images, labels, *normalisation(loaded.data), indices=indices)


def test_the_checkpoint_holds_the_weights_and_their_average(finished, tmp_path):
    folder, weights = finished
    checkpoint = load_checkpoint(folder / "last.npz")
    assert checkpoint.format == 2
    assert checkpoint.average["updates"] == 7
    for name, last in checkpoint.parameters.items():
        expected = weights[0][name].astype(np.float64)
        for update, step in enumerate(range(2, 16, 2), 1):
            kept = min(0.9, update / (update + 50))
            expected = kept * expected + (1 - kept) * weights[step][name]
        np.testing.assert_allclose(checkpoint.average[f"parameters/{name}"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(last, weights[15][name])
    save_checkpoint(tmp_path / "copy.npz", checkpoint)
    assert_same_checkpoint(tmp_path / "copy.npz", folder / "last.npz")


def test_a_run_without_an_average_keeps_none(tmp_path):
    run_small(tmp_path / "run", epochs=1, ema_every=2)
    with np.load(tmp_path / "run" / "last.npz") as archive:
        assert not [name for name in archive.files if name.startswith("average/")]
    loaded = load_run(tmp_path / "run", averaged=True)
    assert (loaded.averaged, loaded.kind) == (False, "weights")
    assert "averaged" not in read_rows(tmp_path / "run" / "metrics.jsonl")[0]


def test_it_is_a_run_of_the_same_steps(run, tmp_path):
    """Averaging changes no step: the raw weights are those of a run that does not average."""
    run_small(tmp_path / "run", learning_rate=0.05)
    plain, averaging = (load_checkpoint(folder / "last.npz") for folder in (tmp_path / "run", run))
    for name, array in plain.parameters.items():
        np.testing.assert_array_equal(array, averaging.parameters[name])


def test_validation_and_test_figures_are_those_of_the_average(run):
    row = read_rows(run / "metrics.jsonl")[-1]
    assert row["averaged"] is True
    averaged, raw = load_run(run), load_run(run, averaged=False)
    for part in ("validation", "test"):
        assert evaluated(averaged, part).loss == pytest.approx(row[f"{part}_loss"], rel=1e-6)
        assert abs(evaluated(raw, part).loss - row[f"{part}_loss"]) > 1e-4


def test_the_best_epoch_is_chosen_and_tested_with_the_average(tmp_path, monkeypatch):
    monkeypatch.setattr("tinymixer.training.run_state.FEW_IMAGES", 1)
    recorder = Recorder()
    result = run_small(
        tmp_path / "run", recorder, **EMA | {"epochs": 12, "patience": 1, "learning_rate": 0.1, "warmup_epochs": 0}
    )
    rows, best = read_rows(tmp_path / "run" / "metrics.jsonl"), load_run(tmp_path / "run", "recommended")
    losses = [row["validation_loss"] for row in rows]
    assert len(rows) < 12
    assert np.argmin(losses) + 1 == len(rows) - 1 == best.checkpoint.state.epoch  # one epoch more, and it stopped
    assert evaluated(best, "validation").loss == pytest.approx(min(losses), rel=1e-5)
    assert evaluated(best, "test").loss == pytest.approx(rows[-1]["test_loss"], rel=1e-5)
    assert "averaged weights of the best epoch on the validation images" in result.message
    last = load_checkpoint(tmp_path / "run" / "last.npz")  # the run itself has its own weights again
    for name, array in recorder.trainer.model.parameters.to_numpy().items():
        np.testing.assert_array_equal(array, last.parameters[name])


@pytest.mark.parametrize("own", [False, True], ids=["mixer", "with buffers"])
@pytest.mark.parametrize("step", [2, 8])
def test_resumed_in_the_middle_of_an_epoch_it_ends_with_the_same_bits(run, step, own, tmp_path):
    def model():
        config = PatchConfig(image_size=8, in_channels=1, patch_size=8, hidden_dim=5, num_classes=10)
        return CentredModel(config, seed=3) if own else None

    def go_on(folder, progress=None, resume=False):
        Trainer(small_recipe(**EMA), folder, small_dataset(), progress, resume, model()).run()

    straight = run
    if own:
        straight = tmp_path / "straight"
        go_on(straight)
    go_on(tmp_path / "stopped", StopAfter(step))
    assert load_checkpoint(tmp_path / "stopped" / "last.npz").state.step == step % 5
    go_on(tmp_path / "stopped", resume=True)
    for name in ("last.npz", "best.npz"):
        assert_same_checkpoint(tmp_path / "stopped" / name, straight / name)
    one, two = (read_rows(folder / "metrics.jsonl") for folder in (straight, tmp_path / "stopped"))
    assert without_times(one) == without_times(two)
    if own:
        average = load_checkpoint(straight / "last.npz").average
        assert np.abs(average["buffers/body.mean.mean"]).max() > 0


def test_the_average_is_what_is_loaded_unless_the_raw_weights_are_asked_for(run):
    checkpoint = load_checkpoint(run / "last.npz")
    averaged, raw = load_run(run), load_run(run, averaged=False)
    assert (averaged.averaged, averaged.kind) == (True, "averaged weights")
    assert (raw.averaged, raw.kind) == (False, "raw weights")
    mean, last = checkpoint.average["parameters/head.weight"], checkpoint.parameters["head.weight"]
    for model, expected in (
        (averaged.model, mean),
        (load_model(run)[0], mean),
        (load_weights(run).model, mean),
        (raw.model, last),
        (load_model(run, averaged=False)[0], last),
        (load_weights(run, averaged=False).model, last),
    ):
        np.testing.assert_array_equal(model.parameters["head.weight"], expected)
    assert "last averaged weights of" in load_weights(run).source
    assert "trained on digits, averaged weights of" in load_weights(run / "last.npz").source
    assert "last raw weights of" in load_weights(run, averaged=False).source


def test_a_run_begins_with_anothers_average_and_says_so(run, tmp_path):
    recorder = Recorder()
    trainer = Trainer(small_recipe(epochs=1), tmp_path / "run", small_dataset(), recorder, init_from=run)
    expected = load_checkpoint(run / "last.npz").average["parameters/head.weight"]
    np.testing.assert_array_equal(trainer.model.parameters["head.weight"], expected)
    assert [note for note in recorder.notes if f"starts from the averaged weights of {run}: all" in note]
    again = Trainer(small_recipe(**EMA), tmp_path / "again", small_dataset(), init_from=run)
    np.testing.assert_array_equal(again.average.values, again.model.parameters.values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average/parameters/head.bias": None}, r"its averaged weights differ from the others in kind \(head.bias\)"),
        ({"average/parameters/head.bias": np.zeros(9, "float32")}, r"differ from the others in kind \(head.bias\)"),
        ({"average/parameters/head.bias": np.zeros(10)}, r"differ from the others in kind \(head.bias\)"),
        ({"average/buffers/mean": np.zeros(3, "float32")}, r"differ from the others in kind \(mean\)"),
        ({"average/parameters/head.bias": np.full(10, np.nan, "float32")}, "average/parameters/head.bias' holds num"),
        ({"average/updates": None}, "its average has no whole number of updates"),
        ({"average/updates": np.array(-1)}, "its average has no whole number of updates"),
        ({"average/updates": np.array(0.5)}, "its average has no whole number of updates"),
        ("no average", "its recipe has ema_decay = 0.9, and it holds no averaged weights"),
    ],
)
def test_a_damaged_average_is_refused(run, changes, message, tmp_path):
    if changes == "no average":
        with np.load(run / "last.npz") as archive:
            changes = {name: None for name in archive.files if name.startswith("average/")}
    path = rewritten(run / "last.npz", tmp_path / "changed.npz", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_run(path, averaged=False)


def test_an_average_nobody_asked_for_is_refused(run, tmp_path):
    checkpoint = load_checkpoint(run / "last.npz")
    recipe = checkpoint.recipe.with_overrides({"ema_decay": 0.0})
    save_checkpoint(tmp_path / "changed.npz", dataclasses.replace(checkpoint, recipe=recipe))
    with pytest.raises(CheckpointError, match="ema_decay = 0, and it holds averaged weights"):
        load_checkpoint(tmp_path / "changed.npz")


def test_an_average_of_another_number_of_steps_is_not_resumed(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    rewritten(run / "last.npz", folder / "last.npz", **{"average/updates": np.array(6)})
    with pytest.raises(CheckpointError, match=r"averaged 6 times in 15 steps, expected 7 \(ema_every = 2\)"):
        run_small(folder, resume=True, **EMA)


@pytest.mark.parametrize(("name", "value"), [("ema_decay", 1.0), ("ema_decay", -0.1), ("ema_every", 0)])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        small_recipe(**{name: value})
