"""Answers read out of notebooks: what is run, what is not, and what a damaged notebook gets."""

import json

import pytest

from tinymixer.errors import DataError
from tinymixer.lessons.answers import definitions, grade_notebook
from tinymixer.lessons.board import grade_exercise, grade_folder

RIGHT = "def my_bias_gradient(dy):\n    return dy.sum(axis=0)\n"


def write_notebook(path, *cells):
    code = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in cells]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# text"}, *code]}), encoding="utf-8")
    return path


def test_definitions_are_run_and_experiments_are_not(tmp_path):
    notebook = write_notebook(
        tmp_path / "a.ipynb",
        "%matplotlib inline\nimport math\n!ls",
        "if True:\n    %pip install something\nRATE = 0.5\nfigure = 1 / 0\n",
        "def f(x):\n    return x * RATE * math.pi\nraise SystemExit",
    )
    names, troubles = definitions(notebook)
    assert names["f"](2) == pytest.approx(3.14159, abs=1e-5)
    assert "figure" not in names
    assert not troubles


def test_a_cell_that_is_not_python_is_told_of_and_the_others_count(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "def my_linear_forward(x, weight, bias:\n", RIGHT)
    verdicts = grade_notebook(notebook, ["2.1", "2.2"])
    assert verdicts["2.2"].passed
    assert verdicts["2.1"].state == "wrong"
    assert "Code cell 1 is not Python yet" in verdicts["2.1"].sentence


def test_an_import_that_fails_is_told_of(tmp_path):
    _, troubles = definitions(write_notebook(tmp_path / "a.ipynb", "import no_such_package"))
    assert "No module named 'no_such_package'" in troubles[0]


def test_the_line_of_an_error_is_the_learners(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "def my_bias_gradient(dy):\n    return dy.total()\n")
    verdict = grade_notebook(notebook, ["2.2"])["2.2"]
    assert verdict.details["line"] == "return dy.total()"


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"cells": 3}', '{"cells": [1]}', "\x00\xff"])
def test_a_damaged_notebook_is_a_sentence(tmp_path, content):
    path = tmp_path / "02_linear.ipynb"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="02_linear"):
        grade_folder(tmp_path)


def test_a_folder_without_lessons_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="There are no lessons"):
        grade_folder(tmp_path)
    with pytest.raises(DataError, match="02_linear"):
        grade_exercise("2.1", tmp_path)


def test_a_deleted_exercise_is_told_of(tmp_path):
    write_notebook(tmp_path / "02_linear.ipynb", RIGHT)
    assert "does not define my_linear_forward" in grade_exercise("2.1", tmp_path).sentence
    assert grade_exercise("2.2", tmp_path).passed
