"""Learning curves are drawn, hold what they are given, and can be read on a white and on a black page."""

import json

import numpy as np
import pytest
from PIL import Image

from tinymixer.errors import CheckpointError, TrainingError
from tinymixer.training.plot_runs import plot_runs


def write_run(folder, epochs, start=2.0):
    folder.mkdir(parents=True)
    rows = [
        {
            "epoch": epoch,
            "train_loss": start / epoch,
            "validation_loss": 1.2 * start / epoch,
            "train_accuracy": 1 - 0.8 / epoch,
            "validation_accuracy": 0.98 - 0.8 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def contrast(image, page):
    """How far the most visible pixels of a picture stand out from the page behind it, from 0 to 255."""
    behind = Image.new("RGBA", image.size, page)
    behind.alpha_composite(image)
    grey = np.asarray(behind.convert("L"), float)
    return np.percentile(np.abs(grey - grey[0, 0]), 99.5)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_a_picture_is_legible_on_white_and_on_black(tmp_path, epochs):
    out = plot_runs([write_run(tmp_path / "run", epochs)], tmp_path / "curves.png")
    with Image.open(out) as opened:
        image = opened.convert("RGBA")
    assert image.width > 1000
    assert image.getpixel((0, 0))[3] == 0
    for page in ("white", "black"):
        assert contrast(image, page) > 80


def test_several_runs_share_a_picture_and_each_adds_to_it(tmp_path):
    runs = [write_run(tmp_path / name, 5, start) for name, start in (("a/run", 2.0), ("b/run", 1.0), ("c", 3.0))]
    plot_runs(runs[:1], tmp_path / "one.png")
    plot_runs(runs, tmp_path / "three.png")
    plot_runs([run / "metrics.jsonl" for run in runs], tmp_path / "files.png")
    colours = []
    for name in ("one", "three", "files"):
        with Image.open(tmp_path / f"{name}.png") as image:
            colours.append(len(np.unique(np.asarray(image.convert("RGBA")).view(np.uint32))))
    assert colours[1] > colours[0]
    assert colours[1] == colours[2]


def test_labels_tell_runs_apart(tmp_path):
    from tinymixer.training.plot_runs import labels_of as _labels

    paths = [tmp_path / name for name in ("a/run", "b/run", "c")]
    for path in paths:
        path.mkdir(parents=True)
    assert _labels(paths[1:]) == ["run", "c"]
    assert _labels(paths[:2]) == ["a/run", "b/run"]
    assert _labels([paths[0], paths[0]]) == ["run (1)", "run (2)"]


def test_what_cannot_be_plotted_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(TrainingError, match="has no finished epoch to plot"):
        plot_runs([tmp_path], tmp_path / "curves.png")
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "train_loss": 0.5, "validation_accuracy": "good"}\n')
    with pytest.raises(TrainingError, match="its 'validation_accuracy' is no number"):
        plot_runs([tmp_path], tmp_path / "curves.png")
    run = write_run(tmp_path / "run", 2)
    with pytest.raises(CheckpointError, match="could not be saved"):
        plot_runs([run], tmp_path / "no such folder" / "curves.png")
