"""Impossible claims in a stranger's recipe, history or checkpoint are refused in a sentence, before any work."""

import json
import os
import time

import numpy as np
import pytest

from tests.training.small_runs import run_small
from tinymixer.errors import CheckpointError, ConfigError, DataError, TrainingError
from tinymixer.models import MixerConfig
from tinymixer.training import Recipe, load_recipe, load_run, read_rows
from tinymixer.training.checkpoint import digest
from tinymixer.training.run_state import RunState
from tinymixer.training.test_images import matching_test_images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    run_small(folder, epochs=1, hidden_dim=8, num_blocks=1)
    return folder


def claiming(run, path, recipe=lambda text: text, **texts):
    """A copy of a run's checkpoint with some texts changed, and the digest that belongs to them."""
    with np.load(run / "last.npz") as archive:
        arrays = dict(archive)
    arrays["recipe"] = np.array(recipe(str(arrays["recipe"])))
    arrays |= {name: np.array(text) for name, text in texts.items()}
    arrays["digest"] = np.array(digest(arrays))
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5000, "not valid TOML: it is nested too deeply"),
        ("a = " + "{a=" * 3000, "not valid TOML: it is nested too deeply"),
        ("[training]\nseed = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("[training]\nseed = 0x" + "f" * 50_000, "'seed' expects a whole number of at most 18 digits"),
        ("[optimizer]\nlearning_rate = 1" + "0" * 400, "'learning_rate' expects a number of at most 18 digits"),
        ("[model]\nhidden_dim = 1" + "0" * 30, "'hidden_dim' expects a whole number of at most 18 digits"),
        ("[model]\nhidden_dim = 90_000", "parameters, more than the limit of 500,000,000"),
        ("[model]\nnum_blocks = 1_000_000_000", "has 1,000,000,000 blocks, more than the limit of 1,000"),
        ("[model]\nimage_size = 2_000_000_011", "values in an image, more than the limit of 100,000,000"),
        ("[model]\nnum_classes = 1_000_000_000", "has 1,000,000,000 classes, more than the limit of 1,000,000"),
        ('name = "a"\n#' + "x" * 1_000_000, "far more than such a file has"),
        ("name = 'a" + "b" * 3000 + "'", "expects at most 2,000 characters"),
        ('name = "a\\u0000"', "expects at most 2,000 characters without a zero byte"),
        ("[training]\nthreads = 1_000_000", "'threads' expects 1024 or less"),
        ('[training]\nbackend = "\\u001b[2J"', r"got '\x1b[2J'"),
    ],
)
def test_a_recipe_is_refused_before_any_work(text, message, tmp_path):
    (tmp_path / "a.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "a.toml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)
    assert time.process_time() - started < 5


def test_a_limit_is_raised_by_the_environment(monkeypatch):
    with pytest.raises(ConfigError, match=r"set TINYMIXER_MAX_BLOCKS higher"):
        MixerConfig(num_blocks=1001)
    with pytest.raises(ConfigError, match=r"channels_mlp_dim of .* 10,000,000 units in a layer.*TINYMIXER_MAX_WIDTH"):
        MixerConfig(hidden_dim=8, channels_mlp_dim=10_000_000)
    monkeypatch.setenv("TINYMIXER_MAX_BLOCKS", "2000")
    assert MixerConfig(num_blocks=1001).num_blocks == 1001


def test_patch_sizes_are_suggested_without_trying_all_numbers():
    with pytest.raises(ConfigError, match=r"choose one of 1, 97$"):
        MixerConfig(image_size=97)
    with pytest.raises(ConfigError, match=r"choose one of 2, 3, 4, 5, 6, 8, 9, 10$"):
        MixerConfig(image_size=720, patch_size=7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000 + b"\n{}", "line 1 of .* is not a row of metrics"),
        (b'{"epoch": ' + b"9" * 5000 + b"}\n{}", "line 1 of .* is not a row of metrics"),
        (b'{"epoch": 1e400}\n', "is not a row of metrics"),
        (b'{"epoch": 1, "train_loss": "x"}', "its 'train_loss' is not a number"),
        (b'{"epoch": 1, "seconds": NaN}', "its 'seconds' is not a number"),
        (b'{"epoch": 1' + b"0" * 400 + b"}", "its 'epoch' is not a number"),
        (b'{"epoch": 1, "validation_accuracy": 0.5}', "it has no 'validation_loss' beside its other figures"),
        (b'{"epoch": 1, "test_accuracy": 0.5}', "it has no 'test_interval' beside its other figures"),
        (b'{"epoch": 1, "test_accuracy": 0.5, "test_interval": [1], "tested": "best"}', "is not two numbers"),
        (b"\xff\xfe\x00", "line 1 of .* is not a row of metrics"),
    ],
)
def test_a_history_that_no_parser_likes(content, message, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        read_rows(tmp_path / "metrics.jsonl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipes_in_the_place_of_files(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(TrainingError, match="is a pipe, a socket or a device"):
        read_rows(tmp_path / "metrics.jsonl")
    os.mkfifo(tmp_path / "last.npz")
    with pytest.raises(CheckpointError, match="is a pipe, a socket or a device"):
        load_run(tmp_path / "last.npz", backend="numpy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_checkpoint_that_names_a_pipe_as_its_data(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for data in (tmp_path / "pipe", "/dev/zero"):
        path = claiming(
            run, tmp_path / "a.npz",
            lambda text, data=data: text.replace('dataset = "digits"', 'dataset = "cifar10"').replace(
                'data = ""', f'data = "{data}"'
            ),
        )  # fmt: skip
        with pytest.raises(DataError, match="is a pipe, a socket or a device"):
            matching_test_images(load_run(path, backend="numpy"), None)


def test_a_checkpoint_whose_recipe_is_larger_than_its_weights(run, tmp_path):
    path = claiming(run, tmp_path / "a.npz", lambda text: text.replace("hidden_dim = 8", "hidden_dim = 100_000"))
    with pytest.raises(CheckpointError, match=r"parameters, and it holds .*: it is damaged or was changed"):
        load_run(path, backend="numpy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 16}, "its model has image_size = 8, its data image_size = 16"),
        ({"class_names": ["a", "b"]}, "its model has num_classes = 10, its data num_classes = 2"),
        ({"image_size": 2_000_000_011}, "does not describe a data set"),
        ({"image_size": 10**400}, "does not describe a data set"),
        ({"mean": [10**400]}, "does not describe a data set"),
    ],
)
def test_a_checkpoint_whose_data_is_not_its_models(run, tmp_path, change, message):
    with np.load(run / "last.npz") as archive:
        data = json.loads(str(archive["data"]))
    path = claiming(run, tmp_path / "a.npz", data=json.dumps(data | change))
    with pytest.raises(CheckpointError, match=message):
        load_run(path, backend="numpy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 3}, "3 steps of the epoch and 0 images"),
        ({"step": 3, "images": 96, "correct": 97}, "97 of 96 images classified correctly"),
        ({"best_epoch": 5}, "the best of 1 epochs to be number 5"),
        ({"best_accuracy": 5.0}, "an accuracy of 5"),
        ({"loss_sum": 1e308}, "holds a number that cannot be"),
        ({"epoch": 10**18}, "holds a number that cannot be"),
        ({"elapsed_seconds": float("inf")}, "holds a number that cannot be"),
    ],
)
def test_a_state_that_contradicts_itself(run, tmp_path, change, message):
    with np.load(run / "last.npz") as archive:
        state = json.loads(str(archive["state"]))
    with pytest.raises(CheckpointError, match=message):
        RunState.from_json(json.dumps(state | change), tmp_path / "a.npz", 2)
    for text in ("1" * 5000, "[" * 100_000):
        with pytest.raises(CheckpointError, match="does not say where the run stands"):
            RunState.from_json(text, tmp_path / "a.npz", 2)


def test_a_recipe_written_by_powershell(tmp_path):
    text = Recipe.to_toml(load_recipe("digits"))
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "a.toml").write_text(text, encoding=encoding)
        assert load_recipe(tmp_path / "a.toml") == load_recipe("digits")
