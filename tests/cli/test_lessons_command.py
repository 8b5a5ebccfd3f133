"""tinymixer lessons: a folder that is filled and never overwritten, and what is done in it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.lessons.notebooks import write_notebook
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.folder import lessons_source
from tinymixer.lessons.merging import record


def keep_lessons(folder, *numbers):
    """Leave only these lessons in a folder, so that it is graded sooner; return how many exercises they have."""
    for path in Path(folder).glob("[0-9]*_*.ipynb"):
        if path.name.split("_")[0] not in numbers:
            path.unlink()
    return sum(exercise.lesson in numbers for exercise in all_exercises())


def test_the_folder_is_filled_and_nothing_is_done(tinymixer):
    filled = tinymixer("lessons", "--no-open")
    assert filled.code == 0
    assert "files copied into tinymixer-lessons" in filled.out
    assert Path("tinymixer-lessons/map.ipynb").is_file()
    assert Path("tinymixer-lessons/solutions/02_linear.ipynb").is_file()
    count = keep_lessons("tinymixer-lessons", "00", "02")
    status = tinymixer("lessons", "status")
    assert status.code == 0
    assert f"0 of {count} exercises done" in status.out
    assert "next: 0.1" in status.out


def test_what_a_learner_wrote_is_never_overwritten(tinymixer):
    tinymixer("lessons", "--no-open", "--folder", "mine")
    notebook = Path("mine/02_linear.ipynb")
    notebook.write_text(notebook.read_text().replace("raise NotYet", "return dy.sum(axis=0)"))
    written = notebook.read_bytes()
    Path("mine/03_gradient_checking.ipynb").unlink()
    again = tinymixer("lessons", "--no-open", "--folder", "mine")
    assert "1 file copied into mine: 03_gradient_checking.ipynb" in again.out
    assert notebook.read_bytes() == written
    keep_lessons("mine", "02", "03")
    rows = {row["exercise"]: row["state"] for row in tinymixer("lessons", "--folder", "mine", "status", "--json").json}
    assert rows["2.2"] == "passed"
    assert rows["2.1"] == "wrong"
    assert rows["3.1"] == "not yet"


def test_the_solutions_do_every_exercise(tinymixer):
    shutil.copytree(lessons_source() / "solutions", "solved")
    count = keep_lessons("solved", "00", "06", "11")  # the sources of all are graded in tests/lessons/test_exercises.py
    status = tinymixer("lessons", "status", "solved")
    assert f"{count} of {count} exercises done" in status.out, status.out


def test_inside_the_folder_the_folder_is_meant(tinymixer, monkeypatch):
    tinymixer("lessons", "--no-open")
    monkeypatch.chdir("tinymixer-lessons")
    count = keep_lessons(".", "01")
    assert f"0 of {count} exercises done" in tinymixer("lessons", "status").out
    tinymixer("lessons", "--no-open")
    assert "your lessons are in ." in tinymixer("lessons", "--no-open").out


def test_a_folder_without_lessons_is_a_sentence(tinymixer):
    assert tinymixer("lessons", "status").is_error("There are no lessons in tinymixer-lessons", "'tinymixer lessons'")


def test_json_is_printed_whatever_happens(tinymixer):
    nothing = tinymixer("lessons", "status", "--json")
    assert nothing.code == 2
    assert nothing.json == []
    assert "There are no lessons" in nothing.err
    folder = Path("mine")
    folder.mkdir()
    (folder / "02_linear.ipynb").write_bytes(b"")
    source = (lessons_source() / "04_gelu.ipynb").read_text(encoding="utf-8")
    (folder / "04_gelu.ipynb").write_text(source.replace("raise NotYet", "raise ValueError('\\\\ud800')"))
    status = tinymixer("lessons", "status", folder, "--json")
    assert status.code == 0
    assert {row["state"] for row in status.json} == {"wrong"}
    assert status.out.isascii()


def test_a_console_without_unicode_gets_the_table_too(tinymixer, monkeypatch):
    folder = Path("mine")
    folder.mkdir()
    source = (lessons_source() / "solutions" / "00_start_here.ipynb").read_text(encoding="utf-8")
    (folder / "00_start_here.ipynb").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "tinymixer", "lessons", "status", "mine"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "+ + +  3 of 3" in outcome.stdout, outcome.stderr


def test_a_copy_of_another_version_is_named_and_renewed(tinymixer):
    tinymixer("lessons", "--no-open", "--folder", "mine")
    keep_lessons("mine", "02", "03")
    assert "another version" not in tinymixer("lessons", "--no-open", "--folder", "mine").out
    keep_lessons("mine", "02", "03")
    notebook = Path("mine/02_linear.ipynb")
    older = json.loads(notebook.read_text(encoding="utf-8"))
    older["cells"][2]["source"] = "# An older text"
    older["metadata"]["tinymixer"] = record(older["cells"])
    notebook.write_text(json.dumps(older).replace("raise NotYet", "return dy.sum(axis=0)"), encoding="utf-8")
    written = notebook.read_bytes()
    said = tinymixer("lessons", "--folder", "mine", "status").out
    assert "02_linear in mine comes from another version of the course" in said
    dry = tinymixer("lessons", "--folder", "mine", "update", "--dry-run")
    assert "02_linear.ipynb: 1 cell of the lesson new or changed, your answers to 2.1, 2.2, 2.3" in dry.out
    assert "would be 02_linear.before-update.ipynb" in dry.out
    assert notebook.read_bytes() == written
    assert "1 file renewed" in tinymixer("lessons", "--folder", "mine", "update", "2").out
    assert Path("mine/02_linear.before-update.ipynb").read_bytes() == written
    assert b"An older text" not in notebook.read_bytes()
    assert "nothing to do" in tinymixer("lessons", "--folder", "mine", "update").out
    notebook.write_text("{")
    damaged = tinymixer("lessons", "--folder", "mine", "update")
    assert damaged.code == 1
    assert "02_linear.ipynb is not a Jupyter notebook" in damaged.err
    assert tinymixer("lessons", "--folder", "mine", "update", "77").is_error("There is no lesson '77'")


def test_a_folder_that_cannot_be_made_is_a_sentence(tinymixer):
    Path("file").write_text("")
    assert tinymixer("lessons", "--no-open", "--folder", "file/inside").is_error("Name another folder")


def test_the_exercises_run_as_tests_of_the_folder(tinymixer):
    tinymixer("lessons", "--no-open", "--folder", "mine")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "task_2_3", "mine"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "1 skipped" in outcome.stdout, outcome.stdout + outcome.stderr
    solved = (lessons_source() / "solutions" / "02_linear.ipynb").read_text()
    Path("mine/02_linear.ipynb").write_text(solved.replace("dbias = dy.sum(axis=0)", "dbias = dy.mean(axis=0)"))
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "dbias is the mean over the batch" in outcome.stdout, outcome.stdout + outcome.stderr
    assert outcome.returncode == 1


def test_jupyterlab_missing_is_a_sentence(tinymixer, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jupyterlab" else find_spec(name))
    assert tinymixer("lessons").is_error("JupyterLab is not installed", 'pip install "tinymixer[lessons] @ git+')
    assert json.loads(Path("tinymixer-lessons/02_linear.ipynb").read_text())["cells"]


MEAN = """import numpy as np
def my_mean_over_tokens_backward(dy, shape):
    return np.broadcast_to(dy / shape[0], shape)
"""
LINEAR = "def my_linear_forward(x, weight, bias):\n    return x @ weight + bias\n"


def test_the_capstone_says_what_is_yours_and_trains(tinymixer, tmp_path):
    write_notebook(tmp_path / "09_mixer.ipynb", MEAN)
    told = tinymixer("lessons", "capstone", str(tmp_path), "--epochs", "1")
    assert told.code == 0, told.out
    assert "yours: 1 of 13" in told.out
    assert "as rounding explains" in told.out
    write_notebook(tmp_path / "09_mixer.ipynb", MEAN.replace("/ shape[0]", "/ shape[1]"))
    write_notebook(tmp_path / "02_linear.ipynb", LINEAR)
    told = tinymixer("lessons", "capstone", str(tmp_path), "--epochs", "1", "--json")
    assert told.code == 1
    assert not told.json["good"]
    assert told.json["training"]["agrees"]  # with the one that is right
    assert [row["exercise"] for row in told.json["functions"] if row["state"] == "wrong"] == ["9.3"]


def test_the_capstone_has_a_sentence_where_there_is_nothing(tinymixer, tmp_path):
    told = tinymixer("lessons", "capstone", str(tmp_path), "--json")
    assert told.code == 2
    assert json.loads(told.out) == {"folder": str(tmp_path), "good": False, "functions": [], "training": None}
    assert "There is no notebook of lessons 02 to 09" in told.err
    write_notebook(tmp_path / "09_mixer.ipynb", "x = 1")
    told = tinymixer("lessons", "capstone", str(tmp_path))
    assert told.code == 1
    assert "nothing to train with" in told.out
