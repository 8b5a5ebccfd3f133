"""tinymixer predict."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinymixer.data import load_dataset
from tinymixer.training import evaluate, load_model, load_run


@pytest.fixture
def digits(tmp_path):
    """Three test images as files, enlarged so that they shrink back to exactly themselves."""
    images = load_dataset("digits").test_images[:3, ..., 0]
    for index, image in enumerate(images):
        large = Image.fromarray(np.kron(image, np.ones((10, 10), np.uint8)))
        large.save(tmp_path / f"{index}.png")
        Image.fromarray(255 - np.asarray(large)).save(tmp_path / f"dark{index}.png")
    return [f"{index}.png" for index in range(3)]


def test_probabilities_are_those_of_the_model(tinymixer, finished_run, digits):
    model, _ = load_model(finished_run)
    data = load_dataset("digits")
    expected = evaluate(model, data.test_images[:3], data.test_labels[:3], data.mean, data.std).probabilities
    answers = tinymixer("predict", finished_run, *digits, "--json", "--top", "10").json
    assert [answer["image"] for answer in answers] == digits
    for answer, row in zip(answers, expected, strict=True):
        found = {entry["label"]: entry["probability"] for entry in answer["predictions"]}
        assert [found[k] for k in range(10)] == pytest.approx(row.tolist(), abs=1e-6)
        shares = [entry["probability"] for entry in answer["predictions"]]
        assert shares == sorted(shares, reverse=True)
        assert all(entry["class"] == str(entry["label"]) for entry in answer["predictions"])


def test_five_classes_are_shown_with_percentages(tinymixer, finished_run, digits):
    outcome = tinymixer("predict", finished_run, *digits)
    assert outcome.code == 0
    assert outcome.out.count(" %  ") == 15
    assert outcome.out.splitlines()[::6] == digits


def test_predictions_say_that_test_time_augmentation_made_them(tinymixer, finished_run, digits, tmp_path):
    outcome = tinymixer("predict", finished_run, *digits, "--tta", "shift", "--csv", "answers.csv")
    assert outcome.code == 0
    assert outcome.out.splitlines()[::6] == [f"{name} (test-time augmentation: shift)" for name in digits]
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][2:] == [*map(str, range(10)), "test-time augmentation"]
    assert [row[-1] for row in rows[1:]] == ["shift"] * 3
    outcome = tinymixer("predict", finished_run, "0.png", "--tta", "mirror", "--json", "--top", "10")
    (answer,) = outcome.json
    assert answer["tta"] == "mirror"
    assert "not trained on mirrored images" in outcome.err
    expected = load_run(finished_run).predict(tmp_path / "0.png", tta="mirror").probabilities
    found = {entry["label"]: entry["probability"] for entry in answer["predictions"]}
    assert [found[k] for k in range(10)] == pytest.approx(expected.tolist(), abs=1e-6)
    assert "tta" not in tinymixer("predict", finished_run, "0.png", "--json").json[0]
    assert tinymixer("predict", finished_run, "0.png", "--tta", "flip").is_error("--tta")


def test_dark_ink_on_paper(tinymixer, finished_run, digits):
    light = tinymixer("predict", finished_run, "0.png").out.splitlines()[1:]
    dark = tinymixer("predict", finished_run, "dark0.png", "--invert").out.splitlines()[1:]
    assert light == dark


def test_a_bad_file_costs_nothing_but_itself(tinymixer, finished_run, digits, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    outcome = tinymixer("predict", finished_run, "0.png", "text.png", "1.png", "--json")
    assert outcome.is_error("text.png", "not an image")
    good, bad, other = outcome.json
    assert good["predictions"]
    assert other["predictions"]
    assert "not an image" in bad["error"]
    assert tinymixer("predict", finished_run, "text.png").is_error("text.png")


def test_bad_arguments_are_one_sentence(tinymixer, finished_run, digits):
    assert tinymixer("predict", finished_run).is_error("IMAGE")
    assert tinymixer("predict", "nowhere", "0.png").is_error("nowhere")
    assert tinymixer("predict", finished_run, "missing.png").is_error("missing.png")
    assert tinymixer("predict", finished_run, "0.png", "--top", "0").is_error("--top")


def test_folders_and_a_table_for_a_spreadsheet(tinymixer, finished_run, digits, tmp_path):
    inside = tmp_path / "new" / "deeper"
    inside.mkdir(parents=True)
    for name in digits:
        (tmp_path / name).rename(inside / name)
    (tmp_path / "new" / ".hidden").write_text("no picture")
    (tmp_path / "new" / "broken.png").write_text("hello")
    outcome = tinymixer("predict", finished_run, "new", "--csv", "answers.csv", "--json")
    assert outcome.code == 2  # for the broken one
    assert [Path(answer["image"]).name for answer in outcome.json] == ["broken.png", *digits]
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "class", *map(str, range(10))]
    assert [row[1] for row in rows] == [answer["predictions"][0]["class"] for answer in outcome.json[1:]]
    assert all(sum(map(float, row[2:])) == pytest.approx(1, abs=1e-5) for row in rows)
    (tmp_path / "empty").mkdir()
    assert tinymixer("predict", finished_run, "empty").is_error("holds no files")
