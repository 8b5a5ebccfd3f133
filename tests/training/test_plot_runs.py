"""Learning curves are drawn, hold what they are given, and can be read on a white and on a black page."""

import json

import matplotlib as mpl
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
    with pytest.raises(TrainingError, match="its 'validation_accuracy' is not a number"):
        plot_runs([tmp_path], tmp_path / "curves.png")
    run = write_run(tmp_path / "run", 2)
    with pytest.raises(CheckpointError, match="could not be saved"):
        plot_runs([run], tmp_path / "no such folder" / "curves.png")


def test_one_bad_run_costs_the_others_nothing(tmp_path):
    from tinymixer.training.plot_runs import histories_of

    good = [write_run(tmp_path / name, 2) for name in ("_baseline", "lr$0.1_$x")]
    (tmp_path / "empty").mkdir()
    broken = write_run(tmp_path / "broken", 2)
    (broken / "metrics.jsonl").write_bytes(b"\xff\n{}\n")
    runs = [good[0], tmp_path / "empty", broken, tmp_path / "nowhere", good[1]]
    histories, left_out = histories_of(runs)
    assert list(histories) == ["_baseline", "lr$0.1_$x"]
    assert len(left_out) == 3
    assert plot_runs(runs, tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["lr$0.1_$x", "$\\frac$", "_hidden", "a\x1b[2Jb", "r\udcffn"])
def test_names_are_drawn_as_they_are(tmp_path, name, monkeypatch):
    """Names are drawn as they are: no formulas, no hidden legend entries, no bytes that are not text."""
    from matplotlib.figure import Figure

    from tinymixer.analysis.confusion_picture import save_confusion
    from tinymixer.analysis.curves import draw_curves
    from tinymixer.text import printable

    shown, save = [], Figure.savefig

    def spy(figure, *arguments, **keywords):
        shown.extend(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
        return save(figure, *arguments, **keywords)

    monkeypatch.setattr(Figure, "savefig", spy)
    rows = [{"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0} for epoch in (1, 2, 3)]
    with mpl.rc_context({"text.usetex": True, "axes.unicode_minus": False}):
        draw_curves({name: rows, "other": rows}, tmp_path / "curves.png")
        save_confusion(np.eye(2, dtype=int), [name, "b"], tmp_path / "confusion.png", title=f"{name} and $x$")
    assert f"{printable(name)}, validation" in shown
    assert f"{printable(name)} and $x$" in shown


def test_the_legend_names_averaged_weights():
    from tinymixer.analysis.curves import _curves

    row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.5}
    figure = _curves({"plain": [row], "ema": [row | {"averaged": True}]})
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["plain, validation", "ema, validation (averaged weights)"]
