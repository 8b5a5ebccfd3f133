"""Commands on a run that averages its weights: each says whose weights it used, and gives the raw ones on request."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import SMALL
from tinymixer.pretrained.load import load_weights
from tinymixer.training import load_checkpoint, read_rows


@pytest.fixture
def run(tinymixer, tmp_path, monkeypatch):
    monkeypatch.setattr("tinymixer.cli.eval._save_picture", lambda *arguments: None)  # pictures take most of the time
    monkeypatch.setattr("tinymixer.training.reports.try_to_draw_curves", lambda *arguments: None)
    options = ("--epochs", 1, "--ema-decay", 0.9, "--ema-every", 2, "--backend", "numpy")
    outcome = tinymixer("train", "digits", "--out", "run", *SMALL, *options)
    assert outcome.code == 0
    assert "of the weights, decay 0.9 every 2 steps; validation and test use averaged weights" in outcome.out
    assert "; averaged weights of the best epoch on the validation images)" in outcome.out.replace("\n", " ")
    return tmp_path / "run"


def test_each_command_says_whose_weights_it_used(tinymixer, run, tmp_path):
    row, checkpoint = read_rows(run / "metrics.jsonl")[-1], load_checkpoint(run / "best.npz")
    evaluated, raw = tinymixer("eval", run, "--json").json, tinymixer("eval", run, "--raw", "--json").json
    assert evaluated["loss"] == pytest.approx(row["test_loss"], rel=1e-6)
    assert abs(raw["loss"] - row["test_loss"]) > 1e-4
    assert (evaluated["averaged"], raw["averaged"]) == (True, False)
    assert "best averaged weights" in tinymixer("eval", run).out
    assert "best raw weights" in tinymixer("eval", run, "--raw").out

    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(tmp_path / "picture.png")
    for options, words in (((), "best averaged weights of"), (("--raw",), "best raw weights of")):
        outcome = tinymixer("predict", run, "picture.png", *options)
        assert words in outcome.err.replace("\n", " ")
        assert words in json.loads(tinymixer("predict", run, "picture.png", "--json", *options).out)[0]["model"]

        outcome = tinymixer("weights", "export", run, "out.safetensors", "--force", *options)
        assert words in outcome.err.replace("\n", " ")
        exported = load_weights("out.safetensors", backend="numpy")
        assert words in exported.source
        expected = checkpoint.weights(averaged=not options)[0]["head.weight"]
        np.testing.assert_array_equal(exported.parameters["head.weight"], expected)

    assert "best averaged weights of" in tinymixer("weights", "info", run, "--json").json["model"]
    assert "raw weights of the last step" in " ".join(tinymixer("eval", "--help").out.split())
    outcome = tinymixer("train", "digits", "--out", "next", *SMALL, "--epochs", 1, "--init-from", run, "-q")
    assert f"starts from the averaged weights of {run}" in outcome.err.replace("\n", " ")
