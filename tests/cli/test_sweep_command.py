"""tinymixer sweep and lr-find, seen from outside."""

import pytest

from tests.cli.running import SMALL


def test_a_sweep_names_the_winner_and_the_command_that_trains_it(tinymixer, tmp_path):
    pytest.importorskip("optuna")
    options = ("--grid", "learning_rate=0.01", "--epochs", 1, "--warmup-epochs", 0, "--batch-size", 256, *SMALL)
    outcome = tinymixer("sweep", "digits", *options)
    assert outcome.code == 0, outcome.err
    assert "validation images decide" in outcome.err
    assert "1 of 1 trial ended (1 finished)" in outcome.out
    assert "tinymixer train sweeps/digits/best.toml" in outcome.out
    assert "test" not in (tmp_path / "sweeps" / "digits" / "trial-000" / "metrics.jsonl").read_text()
    again = tinymixer("sweep", "--out", "sweeps/digits", "--processes", 1, "--quiet")
    assert (again.code, "1 of 1 trial" in again.out) == (0, True)


def test_what_is_wrong_is_said_before_anything_runs(tinymixer, tmp_path):
    assert tinymixer("sweep", "digit", "--grid", "learning_rate=1").is_error("Did you mean 'digits'")
    assert tinymixer("sweep", "digits").is_error("--grid FIELD=VALUE,VALUE or --search")
    assert tinymixer("sweep", "digits", "--grid", "learnin_rate=1").is_error("Did you mean 'learning_rate'")
    assert tinymixer("sweep", "digits", "--grid", "flip=yes", "--validation-share", 0).is_error("validation_share")
    assert not (tmp_path / "sweeps").exists()


def test_lr_find_draws_and_suggests_and_leaves_no_run(tinymixer, tmp_path):
    options = ("digits", *SMALL, "--from", "1e-4", "--steps", "30")
    outcome = tinymixer("lr-find", *options)
    assert outcome.code == 0, outcome.err
    assert "(steepest descent)" in outcome.out
    assert "(a tenth of the rate of the lowest loss)" in outcome.out
    assert (tmp_path / "lr-find.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["lr-find.png"]


def test_lr_find_keeps_its_numbers_in_a_folder(tinymixer, tmp_path):
    outcome = tinymixer("lr-find", "digits", *SMALL, "--to", "1e-5", "--steps", "10", "--out", "found")
    assert "no suggestion: in this range the loss hardly falls" in outcome.out
    lines = (tmp_path / "found" / "lr-find.csv").read_text().splitlines()
    assert lines[0] == "step,learning_rate,loss,smoothed"
    assert len(lines) == 11
    assert tinymixer("lr-find", "digits", "--from", "2").is_error("rises from a number above 0 to a larger one")
