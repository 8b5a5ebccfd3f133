"""A run's length in steps: the last epoch may be a part, and everything follows."""

import math
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small_runs import (
    STEPS_PER_EPOCH,
    Recorder,
    StopAfter,
    assert_same_checkpoint,
    run_small,
    small_recipe,
    without_times,
)
from tinymixer.errors import ConfigError, TrainingError
from tinymixer.training import load_checkpoint, read_rows, resolve_recipe
from tinymixer.training.length import RunLength, warmup_steps_of, with_one_length
from tinymixer.training.reports import Reports


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Most of such a short run's time would be its picture's."""
    with mock.patch.object(Reports, "draw_curves"):
        yield


@given(steps=st.integers(1, 10**6), per_epoch=st.integers(1, 5000))
def test_epochs_share_out_the_steps(steps, per_epoch):
    length = RunLength(steps, per_epoch)
    assert length.epochs == math.ceil(steps / per_epoch)
    assert length.steps_before(0) == 0
    assert length.steps_before(length.epochs) == steps
    last = length.epochs - 1
    assert length.steps_before(last) + length.steps_in(last) == steps
    assert 1 <= length.steps_in(last) <= per_epoch
    assert length.steps_in(length.epochs) == 0
    if last:
        assert length.steps_in(0) == per_epoch


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (90, "2 epochs of 45 steps"),
        (1, "1 step (0.0222 epochs of 45 steps)"),
        (137, "137 steps (3.04 epochs of 45 steps)"),
    ],
)
def test_a_length_in_words(steps, words):
    assert str(RunLength(steps, 45)) == words


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """A run of 7 steps, where an epoch has 5."""
    folder, heard = tmp_path_factory.mktemp("seven") / "run", Recorder()
    return folder, heard, run_small(folder, heard, steps=7, warmup_epochs=0.2)


def test_the_last_epoch_is_the_rest(seven):
    folder, heard, result = seven
    assert heard.trainer.total_steps == 7
    assert heard.trainer.optimizer.steps == heard.trainer.step == 7
    assert [step[0] for step in heard.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert heard.steps[-1][4] == 0  # seconds left
    rows = read_rows(folder / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all("validation_loss" in row for row in rows)
    assert "test_accuracy" in rows[-1]
    assert load_checkpoint(folder / "last.npz").state.epoch == 2
    assert result.message.startswith("finished: 7 steps in ")
    assert (result.trained, result.epochs) == ("7 steps", 2)


def test_learning_rates_follow_the_steps(seven):
    _, heard, _ = seven
    rates = [0.01] + [0.01 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]  # one step of warm-up
    assert [heard.trainer.schedule(step) for step in range(7)] == pytest.approx(rates)
    assert heard.rows[-1]["learning_rate"] == pytest.approx(rates[-1])


def test_as_many_steps_as_epochs_is_the_same_run(tmp_path, seven):
    run_small(tmp_path / "epochs", epochs=2, warmup_epochs=0)
    run_small(tmp_path / "steps", steps=2 * STEPS_PER_EPOCH, warmup_epochs=0)
    assert_same_checkpoint(tmp_path / "epochs" / "last.npz", tmp_path / "steps" / "last.npz")


@pytest.mark.parametrize("stopped_after", [3, 6])
def test_a_resumed_run_keeps_its_length(tmp_path, seven, stopped_after):
    halted = run_small(tmp_path / "run", StopAfter(stopped_after), steps=7, warmup_epochs=0.2)
    assert f"after step {stopped_after} of 7" in halted.message
    run_small(tmp_path / "run", resume=True, steps=7, warmup_epochs=0.2)
    assert_same_checkpoint(tmp_path / "run" / "last.npz", seven[0] / "last.npz")
    rows = without_times(read_rows(tmp_path / "run" / "metrics.jsonl"))
    assert rows == without_times(read_rows(seven[0] / "metrics.jsonl"))


def test_a_finished_part_of_an_epoch_stays_finished(tmp_path, seven):
    assert run_small(seven[0], resume=True, steps=7, warmup_epochs=0.2).status == "already finished"
    with pytest.raises(TrainingError, match=r"training.steps \(7 then, 9 now\)"):
        run_small(seven[0], resume=True, steps=9, warmup_epochs=0.2)


def test_fewer_steps_than_an_epoch_shorten_the_warm_up(tmp_path):
    heard = Recorder()
    run_small(tmp_path / "run", heard, steps=3, warmup_epochs=4)  # more epochs than the recipe's 3, too
    assert [row["epoch"] for row in heard.rows] == [1]
    assert heard.trainer.schedule(0) == 0.01  # a quarter of 3 steps is none
    assert any(note.startswith("the warm-up takes 0 steps, not 20 (warmup_epochs = 4)") for note in heard.notes)


def test_a_warm_up_in_epochs_is_shortened_only_where_steps_decide():
    recipe = small_recipe(epochs=3, warmup_epochs=2)
    assert warmup_steps_of(recipe, RunLength.of(recipe, 5)) == 10
    recipe = small_recipe(steps=15, warmup_epochs=2)
    assert warmup_steps_of(recipe, RunLength.of(recipe, 5)) == 3
    with pytest.raises(ConfigError, match="choose a shorter warm-up"):
        small_recipe(epochs=3, warmup_epochs=4)


def test_mixing_ends_by_steps(tmp_path):
    heard = Recorder()
    run_small(tmp_path / "run", heard, steps=7, mixup=0.4, mixing_off=0.5, cutout=0)
    heard.trainer.state.epoch, heard.trainer.state.step = 0, 0
    first = [step.mixed for step in heard.trainer._plan()]
    heard.trainer.state.epoch = 1
    assert first + [step.mixed for step in heard.trainer._plan()] == [True] * 4 + [False] * 3


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        ({"training.epochs": 5}, (5, 0, 0)),
        ({"steps": 8}, (3, 8, 0)),
        ({"training.seconds": 60.0, "training.epochs": None}, (3, 0, 60)),
        ({"batch_size": 4}, (3, 7, 20)),
    ],
)
def test_a_length_on_the_command_line_replaces_the_recipes(asked, length):
    recipe = small_recipe(steps=7, seconds=20)
    training = recipe.with_overrides(with_one_length(recipe, asked)).training
    assert (training.epochs, training.steps, training.seconds) == length


def test_two_lengths_at_once_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--steps and --seconds both say how long the run is: give one"):
        resolve_recipe("digits", {"training.steps": 5, "training.seconds": 20.0})
