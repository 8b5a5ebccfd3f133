"""What a run leaves behind, what it tells, and how it ends when something is wrong."""

import json
import math
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import (
    STEPS_PER_EPOCH,
    Recorder,
    StopAfter,
    names_in,
    run_small,
    small_dataset,
    small_recipe,
)
from tinymixer.data import Dataset
from tinymixer.errors import CheckpointError, ConfigError, DataError, TrainingError
from tinymixer.models import MlpMixer
from tinymixer.training import (
    RunFolder,
    Trainer,
    accuracy_interval,
    evaluate,
    load_checkpoint,
    load_model,
    load_recipe,
    load_run,
    read_rows,
)
from tinymixer.training.history import append_row

ROOT = Path(__file__).parents[2]


def test_a_run_folder_holds_what_the_design_says(tmp_path, real_curves):
    heard = Recorder()
    result = run_small(tmp_path / "run", heard)
    assert names_in(tmp_path / "run") == [
        "best.npz",
        "config.toml",
        "curves.png",
        "last.npz",
        "metrics.jsonl",
        "previous.npz",
    ]
    assert load_recipe(tmp_path / "run" / "config.toml") == small_recipe(precision="float32").fitted_to(small_dataset())
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["training"]["dtype"] == "float32"
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row.items() <= told.items() for row, told in zip(heard.rows, rows, strict=True)] == [True] * 3
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert all(math.isfinite(row[name]) for name in heard.rows[0])
        assert 0 <= row["validation_accuracy"] <= 1
        assert 0 <= row["train_accuracy"] <= 1
        assert row["images_per_second"] > 0
        assert ("test_accuracy" in row) == (row is rows[-1])
    assert result.status == "finished"
    best = min(rows, key=lambda row: row["validation_loss"])
    assert result.validation_accuracy == best["validation_accuracy"]
    assert (result.test_accuracy, result.tested) == (rows[-1]["test_accuracy"], "last")
    assert result.test_interval == accuracy_interval(round(24 * result.test_accuracy), 24)
    assert result.seconds >= sum(row["seconds"] for row in rows) > 0
    assert heard.results == [result]
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000  # no stand-in


def test_best_holds_the_weights_of_the_best_epoch(tmp_path):
    run_small(tmp_path / "run", epochs=6)
    rows, dataset = read_rows(tmp_path / "run" / "metrics.jsonl"), small_dataset()
    accuracies = [row["validation_accuracy"] for row in rows]
    best = min(rows, key=lambda row: row["validation_loss"])["epoch"]
    assert load_checkpoint(tmp_path / "run" / "best.npz").state.epoch == best
    _, validation = dataset.split(0.2, small_recipe().training.seed)
    for which, accuracy in (("best", accuracies[best - 1]), ("last", accuracies[-1])):
        model, _ = load_model(tmp_path / "run", which, backend="numpy")
        images, labels = dataset.train_images[validation], dataset.train_labels[validation]
        assert evaluate(model, images, labels, dataset.mean, dataset.std).accuracy == accuracy


def test_progress_hears_every_step_with_running_means(tmp_path):
    heard = Recorder()
    run_small(tmp_path / "run", heard)
    assert [step[0] for step in heard.steps] == list(range(1, 3 * STEPS_PER_EPOCH + 1))
    for epoch, row in enumerate(heard.rows, 1):
        _, loss, accuracy, _, _ = heard.steps[epoch * STEPS_PER_EPOCH - 1]
        assert (loss, accuracy) == (row["train_loss"], row["train_accuracy"])
    assert heard.steps[-1][4] == 0
    assert all(step[3] > 0 and step[4] >= 0 for step in heard.steps)
    assert heard.trainer.total_steps == 15


def test_training_itself_never_prints(tmp_path, capfd):
    run_small(tmp_path / "run")
    run_small(tmp_path / "stopped", StopAfter(2))
    assert capfd.readouterr() == ("", "")


def test_sgd_accumulation_and_float64_train_too(tmp_path):
    choices = {"optimizer": "sgd", "nesterov": True, "dtype": "float64", "dropout": 0, "drop_path": 0}
    whole = run_small(tmp_path / "whole", **choices)
    run_small(tmp_path / "parts", **choices, micro_batches=3)
    one, two = (load_checkpoint(tmp_path / name / "last.npz").parameters for name in ("whole", "parts"))
    assert whole.status == "finished"
    for name in one:
        assert one[name].dtype == np.float64
        np.testing.assert_allclose(two[name], one[name], rtol=1e-9, atol=1e-11)


def test_a_run_that_blows_up_stops_with_the_numbers_and_keeps_the_last_good_checkpoint(tmp_path):
    numbers = r"step (\d+) \(learning rate [\d.e+]+, gradient norm (nan|inf)\)"
    choices = {
        "optimizer": "sgd",
        "learning_rate": 1e30,
        "clip_norm": 0,
        "warmup_epochs": 0,
        "checkpoint_every_steps": 1,
    }
    with pytest.raises(TrainingError, match=rf"the (loss|gradient norm) became (nan|inf) at {numbers}") as caught:
        run_small(tmp_path / "run", **choices)
    kept = load_checkpoint(tmp_path / "run" / "last.npz")
    assert kept.state.step == int(re.search(numbers, str(caught.value))[1]) - 1
    assert all(np.isfinite(array).all() for array in kept.parameters.values())


def test_a_validation_loss_that_is_not_finite_stops_the_run_too(tmp_path, monkeypatch):
    from tinymixer.training import trainer as module

    monkeypatch.setattr(module, "evaluate", lambda *_: type("Bad", (), {"loss": math.nan, "accuracy": 0.1})())
    with pytest.raises(TrainingError, match="validation loss became nan after step 5"):
        run_small(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.epoch == 0
    assert not read_rows(tmp_path / "run" / "metrics.jsonl")


def test_a_stop_during_evaluation_is_heard(tmp_path):
    """The step is done, the epoch is not: it is evaluated when the run goes on."""
    heard = StopAfter(STEPS_PER_EPOCH)
    assert run_small(tmp_path / "run", heard).status == "interrupted"
    assert not heard.rows
    state = load_checkpoint(tmp_path / "run" / "last.npz").state
    assert (state.epoch, state.step) == (0, STEPS_PER_EPOCH)


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.training.small_runs import Recorder, run_small
from tinymixer.errors import TinymixerError
from tinymixer.training.history import append_row

folder = Path(sys.argv[1])

def fill_the_disk(step):
    if step == 7:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

try:
    run_small(folder, Recorder(fill_the_disk), checkpoint_every_steps=4)
except TinymixerError as error:
    print(error)
try:
    append_row(folder / "metrics.jsonl", {"epoch": 2, "note": "x" * 3000})
except TinymixerError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_told_in_a_sentence_and_loses_nothing(tmp_path):
    """A limit on the size of files plays the full disk: writing stops in the middle of a file."""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", FULL_DISK, str(folder)]
    result = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    about_checkpoint, about_row = result.stdout.splitlines()
    assert re.search(r"last.npz could not be saved \(File too large\): the previous one is untouched", about_checkpoint)
    assert re.search(r"metrics.jsonl could not be written \(.*\): free some space, then go on with --resume", about_row)
    assert load_checkpoint(folder / "last.npz").state.epoch == 1
    assert [row["epoch"] for row in read_rows(folder / "metrics.jsonl")] == [1]
    assert not [name for name in names_in(folder) if name.startswith(".")]
    assert run_small(folder, resume=True).status == "finished"


def test_a_row_that_does_not_fit_on_the_disk_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    append_row(path, {"epoch": 1})

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TrainingError, match=r"No space left on device\): free some space, then go on with --resume"):
        append_row(path, {"epoch": 2})
    assert read_rows(path) == [{"epoch": 1}]


def test_a_history_that_is_none_is_refused_by_its_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for text, message in (
        ('{"epoch": 1}\nnonsense\n{"epoch": 2}\n', "line 2 of .* is not a row of metrics"),
        ('{"epoch": 1}\n{"epoch": ' + "9" * 5000 + '}\n{"epoch": 2}\n', "line 2 of .* is not a row of metrics"),
        ("[" * 100_000 + "\n", "line 1 of .* is not a row of metrics"),
        ('{"epoch": 1}\n[3]\n', "line 2 of .* is not a row of metrics"),
        ('{"epoch": "one"}\n', "line 1 of .* is not a row of metrics"),
    ):
        path.write_text(text)
        with pytest.raises(TrainingError, match=message):
            read_rows(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(TrainingError, match=r"line 1 of .* is not a row of metrics"):
        read_rows(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(TrainingError, match="is a folder"):
        read_rows(path)


def test_no_run_is_ever_written_over(tmp_path):
    run_small(tmp_path / "run", StopAfter(2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(TrainingError, match="holds a run already: add --resume"):
        run_small(tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    with pytest.raises(TrainingError, match="holds no run to resume"):
        run_small(tmp_path / "nowhere", resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="cannot be made"):
        run_small(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_without_out_each_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [str(RunFolder.create(small_recipe()).path) for _ in range(3)]
    assert folders == [str(Path("runs", name)) for name in ("small", "small-2", "small-3")]


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_two_processes_cannot_train_into_one_folder(tmp_path):
    """A lock belongs to an open folder, so a second opening in this process stands for the other process."""
    trainer = Trainer(small_recipe(), tmp_path / "run", small_dataset())
    config = trainer.folder.config.read_bytes()
    with pytest.raises(TrainingError, match="another process is training into"):
        Trainer(small_recipe(), tmp_path / "run", small_dataset(), resume=True)
    with pytest.raises(TrainingError, match="another process is training into"):
        Trainer(small_recipe(seed=9), tmp_path / "run", small_dataset())
    assert trainer.folder.config.read_bytes() == config
    assert trainer.run().status == "finished"
    assert Trainer(small_recipe(), tmp_path / "run", small_dataset(), resume=True).run().status == "already finished"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"image_size": 16}, "the recipe has image_size = 16, but the data set 'digits' needs image_size = 8"),
        ({"in_channels": 3}, "needs in_channels = 1"),
        ({"num_classes": 100}, "needs num_classes = 10"),
        ({"batch_size": 41}, "batch_size 41 exceeds the 40 training images of 'digits' .validation images not counted"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data_is_refused_before_a_folder_is_made(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run_small(tmp_path / "run", **overrides)
    assert not (tmp_path / "run").exists()


def test_resuming_needs_a_folder():
    with pytest.raises(TrainingError, match="say in which folder"):
        Trainer(small_recipe(), None, small_dataset(), resume=True)


def test_evaluation_does_not_depend_on_the_batch_size():
    dataset = small_dataset()
    model = MlpMixer(small_recipe().model, dtype="float64", seed=2)
    model.parameters["head.weight"][...] = np.random.default_rng(1).standard_normal((8, 10))
    inputs = dataset.test_images, dataset.test_labels, dataset.mean, dataset.std
    whole, small = evaluate(model, *inputs, batch_size=24), evaluate(model, *inputs, batch_size=5)
    assert small.loss == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_array_equal(small.predictions, whole.predictions)
    np.testing.assert_allclose(whole.probabilities.sum(axis=1), 1)
    assert whole.loss == pytest.approx(-np.log(whole.probabilities[np.arange(24), dataset.test_labels]).mean())
    assert evaluate(model, *inputs, stopped=lambda: True) is None
    with pytest.raises(DataError, match="a label for each: got 0 and 0"):
        evaluate(model, dataset.test_images[:0], dataset.test_labels[:0], dataset.mean, dataset.std)


def test_rows_are_plain_json(tmp_path):
    run_small(tmp_path / "run", epochs=1)
    line = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert line.endswith("\n")
    names = {"epoch", "train_loss", "validation_loss", "validation_accuracy", "images_per_second", "seconds"}
    assert names <= json.loads(line).keys()


class TestSelection:
    """The test images choose nothing: they are looked at once, at the end."""

    def test_patience_stops_a_run_that_gets_no_better(self, tmp_path):
        result = run_small(tmp_path / "run", epochs=40, patience=2, schedule="constant", learning_rate=0.3)
        rows = read_rows(tmp_path / "run" / "metrics.jsonl")
        losses = [row["validation_loss"] for row in rows]
        assert result.status == "finished"
        assert len(rows) < 40
        assert len(rows) - 1 - int(np.argmin(losses)) == 2
        assert "test_accuracy" in rows[-1]
        again = run_small(tmp_path / "run", resume=True, epochs=40, patience=2, schedule="constant", learning_rate=0.3)
        assert again.status == "already finished"

    def test_the_test_images_are_looked_at_once_with_the_recommended_weights(self, tmp_path, monkeypatch):
        from tinymixer.training import trainer as module

        dataset, looked = small_dataset(), []
        monkeypatch.setattr(module, "evaluate", lambda *a: looked.append(a[1] is dataset.test_images) or evaluate(*a))
        monkeypatch.setattr("tinymixer.training.run_state.FEW_IMAGES", 10)
        result = Trainer(small_recipe(epochs=6), tmp_path / "run", dataset).run()
        assert looked == [False] * 6 + [True]
        assert result.tested == "best"
        loaded = load_run(tmp_path / "run")
        assert loaded.which == "best"
        found = evaluate(loaded.model, dataset.test_images, dataset.test_labels, dataset.mean, dataset.std)
        assert found.accuracy == result.test_accuracy

    def test_without_validation_images_only_the_last_weights_are_kept(self, tmp_path):
        result = run_small(tmp_path / "run", validation_share=0)
        assert names_in(tmp_path / "run") == [
            "config.toml",
            "curves.png",
            "last.npz",
            "metrics.jsonl",
            "previous.npz",
        ]
        assert (result.tested, result.validation_accuracy) == ("last", None)
        assert "validation_loss" not in read_rows(tmp_path / "run" / "metrics.jsonl")[0]
        with pytest.raises(CheckpointError, match="keeps no validation images"):
            load_run(tmp_path / "run", "best")
        with pytest.raises(ConfigError, match="'patience' needs validation images"):
            small_recipe(validation_share=0, patience=3)

    def test_without_test_images_it_is_said_and_trained(self, tmp_path):
        given, heard = small_dataset(), Recorder()
        data = Dataset(
            "mine", given.train_images, given.train_labels, given.test_images[:0], given.test_labels[:0],
            given.class_names, given.mean, given.std,
        )  # fmt: skip
        result = Trainer(small_recipe(), tmp_path / "run", data, heard).run()
        assert result.test_accuracy is None
        assert any("no test images" in note for note in heard.notes)

    def test_other_images_are_not_resumed_on(self, tmp_path):
        run_small(tmp_path / "run", StopAfter(3))
        given = small_dataset()
        data = Dataset(
            "digits", given.train_images, given.train_labels[::-1].copy(), given.test_images, given.test_labels,
            given.class_names, given.mean, given.std,
        )  # fmt: skip
        with pytest.raises(TrainingError, match="these images, 'digits', are others"):
            Trainer(small_recipe(), tmp_path / "run", data, resume=True)

    @pytest.mark.parametrize(
        ("correct", "images", "low", "high"),
        [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (50, 100, 0.4038, 0.5962)],
    )
    def test_the_interval_is_wilsons(self, correct, images, low, high):
        assert accuracy_interval(correct, images) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_progress_can_stop_a_run(tmp_path):
    class Impatient(Recorder):
        def on_step(self, step, *figures):
            if step == 7:
                self.stop()

    result = run_small(tmp_path / "run", Impatient())
    assert (result.status, result.signal) == ("interrupted", None)
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.epoch == 1
    assert run_small(tmp_path / "run", resume=True).status == "finished"


def test_a_notebook_shows_a_bar(tmp_path, monkeypatch, capfd):
    pytest.importorskip("tqdm")
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, version_info=(8,)))
    result = run_small(tmp_path / "run")
    shown = capfd.readouterr()
    assert "15/15" in shown.err
    assert "validation=" in shown.err
    assert result.message in shown.out
