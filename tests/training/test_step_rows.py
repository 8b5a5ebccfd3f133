"""Rows of steps in metrics.jsonl: what they say, and that no reader, resume or crash is misled by them."""

import json
from unittest import mock

import numpy as np
import pytest

from tests.training.small_runs import Recorder, StopAfter, run_small, small_dataset, small_recipe, without_times
from tinymixer.engines import Totals
from tinymixer.errors import TrainingError
from tinymixer.training import Trainer, load_checkpoint, read_rows, read_step_rows, step_rows
from tinymixer.training.history import append_row, is_step_row, mend_rows
from tinymixer.training.plot_runs import plot_runs
from tinymixer.training.reports import Reports

EVERY = {"step_rows": 3, "epochs": 2}
STEP_1, STEP_2, STEP_7 = ({"step": step, "epoch": step / 5, "loss": 1.0, "accuracy": 0.5} for step in (1, 2, 7))
EPOCH_1 = {"epoch": 1, "train_loss": 1.0}


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Most of such a short run's time would be its picture's."""
    with mock.patch.object(Reports, "draw_curves"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two epochs of five steps, with a row every three."""
    folder, heard = tmp_path_factory.mktemp("rows") / "run", Recorder()
    run_small(folder, heard, **EVERY)
    return folder, heard


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_row_has_the_means_since_the_last(run):
    folder, heard = run
    rows = read_step_rows(folder / "metrics.jsonl")
    assert [(row["step"], row["epoch"]) for row in rows] == [(3, 0.6), (6, 1.2), (9, 1.8)]
    sums = [0.0]
    for step, loss, *_ in heard.steps:  # the mean over the epoch so far
        start = 0.0 if step <= 5 else sums[5]
        sums.append(start + loss * (step if step <= 5 else step - 5))
    assert [row["loss"] for row in rows] == pytest.approx([(sums[i] - sums[i - 3]) / 3 for i in (3, 6, 9)])
    assert [row["learning_rate"] for row in rows] == [heard.trainer.schedule(step) for step in (2, 5, 8)]
    for row in rows:
        assert 0 <= row["accuracy"] <= 1
        assert row["images_per_second"] > 0
        assert 0 < row["gradient_norm"] < 1e3


def test_rows_of_steps_stand_before_their_epochs_row(run):
    assert [row["epoch"] for row in lines_of(run[0])] == [0.6, 1, 1.2, 1.8, 2]


def test_readers_of_epochs_see_epochs(run, tmp_path):
    folder, _ = run
    rows = read_rows(folder / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["tested"] == "last"
    assert [row["epoch"] for row in load_checkpoint(folder / "last.npz").history] == [1, 2]
    assert plot_runs([folder], tmp_path / "curves.png").is_file()


@pytest.mark.parametrize("stopped_after", [2, 3, 8])
def test_a_resumed_run_repeats_and_loses_none(run, tmp_path, stopped_after):
    run_small(tmp_path / "run", StopAfter(stopped_after), **EVERY)
    run_small(tmp_path / "run", resume=True, **EVERY)
    assert without_times(lines_of(tmp_path / "run")) == without_times(lines_of(run[0]))


def test_rows_after_the_last_checkpoint_are_written_again(run, tmp_path):
    run_small(tmp_path / "run", StopAfter(4), **EVERY)
    path = tmp_path / "run" / "metrics.jsonl"
    append_row(path, {"step": 6, "epoch": 1.2, "loss": 99.0})  # as a crash leaves them
    append_row(path, {"epoch": 1, "train_loss": 99.0, "train_accuracy": 0.0})
    run_small(tmp_path / "run", resume=True, **EVERY)
    assert without_times(lines_of(tmp_path / "run")) == without_times(lines_of(run[0]))


def test_a_resumed_run_may_write_other_rows(tmp_path):
    run_small(tmp_path / "run", StopAfter(4), **EVERY)
    run_small(tmp_path / "run", resume=True, epochs=2, step_rows=5)
    assert [row["step"] for row in read_step_rows(tmp_path / "run" / "metrics.jsonl")] == [3, 5, 10]


def test_an_engine_that_reports_many_steps_at_once_gets_a_row_per_report(tmp_path):
    trainer = Trainer(small_recipe(step_rows=2, epochs=2), tmp_path / "run", small_dataset())
    one_by_one = trainer.engine.steps

    def three_at_once(plan):
        reports = list(one_by_one(plan))
        for start in range(0, len(reports), 3):
            totals = [totals for _, totals in reports[start : start + 3]]
            loss, correct = sum(each.loss_sum for each in totals), sum(each.correct for each in totals)
            yield len(totals), Totals(loss, correct, sum(each.images for each in totals), gradient_norm=np.inf)

    trainer.engine.steps = three_at_once
    trainer.run()
    rows = read_step_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 5, 8, 10]  # reports at 3, 5 | 8, 10
    assert not any("gradient_norm" in row for row in rows)  # none that is not finite


def test_rows_that_cannot_be_written_stop_no_run(tmp_path):
    heard = Recorder()
    with mock.patch.object(step_rows, "LARGEST_WITH_STEPS", 10):
        assert run_small(tmp_path / "run", heard, **EVERY).status == "finished"
    assert len(read_step_rows(tmp_path / "run" / "metrics.jsonl")) == 1
    assert any(note.startswith("no more rows of steps are written: ") for note in heard.notes)


def test_mending_keeps_what_the_checkpoint_has_seen(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for row in (STEP_1, STEP_2, EPOCH_1, STEP_7, STEP_2):
        append_row(path, row)
    assert mend_rows(path, [EPOCH_1], 1, steps=5) == [EPOCH_1]
    assert lines_of(tmp_path) == [STEP_1, STEP_2, EPOCH_1]


def test_mending_puts_a_lost_row_of_an_epoch_in_its_place(tmp_path):
    path, said = tmp_path / "metrics.jsonl", []
    path.write_text(f'{json.dumps(STEP_1)}\n{{"step": 2}}\n{json.dumps(STEP_7)}\n')
    assert mend_rows(path, [EPOCH_1], 1, said.append, steps=7) == [EPOCH_1]
    assert lines_of(tmp_path) == [STEP_1, EPOCH_1, STEP_7]
    assert "no row for epoch 1, damaged lines 2" in said[0]


@pytest.mark.parametrize("line", ['{"step": 1.5, "epoch": 1}', '{"step": 1}', '{"step": 1, "epoch": 1, "loss": "x"}'])
def test_a_row_of_steps_is_checked_too(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    for read in (read_rows, read_step_rows):
        with pytest.raises(TrainingError, match=r"line 1 of .* is not a row of metrics"):
            read(tmp_path / "metrics.jsonl")


def test_the_two_kinds_of_rows():
    assert is_step_row(STEP_1)
    assert not is_step_row(EPOCH_1)
