"""tinymixer eval."""

import json
import shutil

import numpy as np
import pytest

from tinymixer.data import load_dataset
from tinymixer.training import read_rows

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_table_the_accuracy_and_a_picture(tinymixer, run):
    row = read_rows(run / "metrics.jsonl")[-1]
    outcome = tinymixer("eval", run)
    assert outcome.code == 0
    assert outcome.err == ""
    assert f"accuracy {100 * row['test_accuracy']:.2f} %" in outcome.out
    low, high = row["test_interval"]
    assert f"95 % interval {100 * low:.1f} % to {100 * high:.1f} %" in outcome.out
    assert f"{row['tested']} averaged weights" in outcome.out
    table = [line.split() for line in outcome.out.splitlines() if line.strip()[:1].isdigit()]
    assert [line[0] for line in table] == [str(digit) for digit in range(10)]
    assert sum(int(line[1]) for line in table) == 360
    assert max(map(len, outcome.out.splitlines())) <= max(80, len(str(run)) + 40)
    assert (run / "confusion.png").read_bytes().startswith(PNG)


def test_json_holds_everything_and_nothing_else_is_printed(tinymixer, run):
    row = read_rows(run / "metrics.jsonl")[-1]
    outcome = tinymixer("eval", run, "--json")
    found = outcome.json
    assert found["accuracy"] == pytest.approx(row["test_accuracy"])
    assert found["loss"] == pytest.approx(row["test_loss"], rel=1e-5)
    assert (found["dataset"], found["images"], found["checkpoint"]) == ("digits", 360, row["tested"])
    confusion = np.array(found["confusion"])
    assert np.array_equal(confusion.sum(axis=1), np.bincount(load_dataset("digits").test_labels))
    assert [entry["correct"] for entry in found["classes"]] == np.diagonal(confusion).tolist()
    assert found["confusion_picture"] == str(run / "confusion.png")


def test_test_time_augmentation_is_reported_apart(tinymixer, run):
    plain, both = tinymixer("eval", run), tinymixer("eval", run, "--tta", "all")
    assert both.code == 0
    before, after = plain.out.splitlines(), both.out.splitlines()
    place = next(i for i, line in enumerate(after) if line.startswith("test-time augmentation"))
    assert after[:place] + after[place + 1 :] == before  # the plain figures, table and all, stay as they are
    assert "not trained on mirrored images" in both.err
    found = tinymixer("eval", run, "--tta", "all", "--json").json
    low, high = found["tta_accuracy_interval"]
    assert after[place] == (
        f"test-time augmentation (all, 6 views): accuracy {100 * found['tta_accuracy']:.2f} % "
        f"({round(360 * found['tta_accuracy'])} of 360; 95 % interval {100 * low:.1f} % to {100 * high:.1f} %), "
        f"loss {found['tta_loss']:.4f}"
    )
    assert found["tta"] == "all"
    assert found["tta_loss"] != found["loss"]
    assert after[place - 1].startswith(
        f"accuracy {100 * found['accuracy']:.2f} % ({np.trace(found['confusion'])} of 360;"
    )
    assert tinymixer("eval", run, "--tta", "mirrors").is_error("'none', 'mirror', 'shift', 'all'")


def test_a_checkpoint_file_and_a_picture_elsewhere(tinymixer, run, tmp_path):
    assert tinymixer("eval", run / "last.npz", "--out", "matrix.png").code == 0
    assert (tmp_path / "matrix.png").read_bytes().startswith(PNG)
    assert not (run / "confusion.png").exists()


def test_figures_are_shown_even_where_the_picture_cannot_be_saved(tinymixer, run):
    outcome = tinymixer("eval", run, "--out", "missing/matrix.png", "--json")
    assert outcome.is_error("missing/matrix.png")
    assert outcome.json["confusion_picture"] is None
    assert outcome.json["images"] == 360


def test_a_picture_nobody_asked_for_is_no_reason_to_fail(tinymixer, run):
    (run / "confusion.png").unlink(missing_ok=True)
    (run / "confusion.png").mkdir()
    outcome = tinymixer("eval", run)
    assert outcome.code == 0
    assert "confusion matrix not drawn: " in outcome.err
    assert "accuracy" in outcome.out


def test_bad_runs_are_one_sentence(tinymixer, run, tmp_path):
    (tmp_path / "empty").mkdir()
    cut = run / "best.npz"
    cut.write_bytes(cut.read_bytes()[:2000])
    assert tinymixer("eval", "nowhere").is_error("nowhere")
    assert tinymixer("eval", "empty").is_error("empty", "run")
    assert tinymixer("eval", run).is_error("best.npz", "damaged")
    assert tinymixer("eval", run / "last.npz", "--data", tmp_path).is_error("holds no picture")
    assert tinymixer("eval", run, "--checkpoint", "worst").is_error("'recommended', 'best', 'last'")
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["epoch"] == 1
