"""tinymixer train --seconds and --steps, seen from outside; a test says what is measured, so no machine is too slow."""

import time
import tomllib
from unittest import mock

import pytest

from tests.cli.running import SMALL
from tinymixer.cli import command_clock
from tinymixer.training import measuring, reports
from tinymixer.training.budget import Costs


@pytest.fixture
def costs(monkeypatch):
    """Sets what measuring finds; no curves are drawn."""
    monkeypatch.setattr(reports, "try_to_draw_curves", lambda *arguments: None)

    def found(step):
        monkeypatch.setattr(measuring, "measure", lambda trainer, budget: Costs(step))

    return found


def test_a_budget_becomes_steps_in_config_toml(tinymixer, tmp_path, costs):
    costs(step=1e4)
    outcome = tinymixer("train", "digits", "--seconds", "100000", "--step-rows", "4", *SMALL)
    assert outcome.code == 0
    assert "9 steps of 10000 s fit into 100000 seconds" in outcome.err
    assert "of 100000 seconds were used, from the command to the test figure" in outcome.err
    assert "\nsteps    9 steps (0.225 epochs of 40 steps), 32 images each\n" in outcome.out
    assert "\nfinished: 9 steps in " in outcome.out
    training = tomllib.loads((tmp_path / "runs/digits/config.toml").read_text())["training"]
    assert (training["steps"], training["seconds"], training["step_rows"]) == (9, 1e5, 4)
    again = tinymixer("train", "--out", "runs/digits", "--resume", "--seconds", "100000")
    assert again.out.startswith("\nalready finished: 9 steps")


def test_a_budget_that_is_too_small_is_refused(tinymixer, tmp_path, costs):
    costs(step=1e6)
    outcome = tinymixer("train", "--seconds", "100000", "--out", "run", *SMALL)
    assert outcome.is_error("no training step fits into 100000 seconds", "give --seconds 1020")
    assert not (tmp_path / "run").exists()


def test_one_length_at_a_time(tinymixer):
    assert tinymixer("train", "--seconds", "20", "--epochs", "2").is_error("--epochs and --seconds both say how long")


def seconds_since():
    started = command_clock.command_started()
    return time.perf_counter() - started


def test_a_command_begins_with_its_process(monkeypatch):
    monkeypatch.delenv(command_clock.STARTED, raising=False)
    command_clock.start_command(is_own_process=False)
    assert 0 <= seconds_since() < 60
    with mock.patch.object(command_clock, "_age_of_process", return_value=500.0):
        command_clock.start_command(is_own_process=True)
    assert seconds_since() >= 500
    monkeypatch.setenv(command_clock.STARTED, str(time.time() - 900))  # a launcher began earlier
    assert seconds_since() >= 899
    monkeypatch.setattr(command_clock, "_started", None)
    monkeypatch.setenv(command_clock.STARTED, "yesterday")
    assert 0 <= seconds_since() < 60


def test_the_age_of_this_process():
    assert 0 <= command_clock._age_of_process() < 1e6
