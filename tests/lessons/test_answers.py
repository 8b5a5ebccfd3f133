"""Answers read out of notebooks: which statements are run, by which grammar, and what a damaged notebook gets."""

import builtins
import json
import os
import sys

import pytest

from tests.lessons.notebooks import RIGHT, RIGHT_FORWARD, write_notebook
from tinymixer.errors import ConfigError, DataError
from tinymixer.lessons.answers import grade, write_files
from tinymixer.lessons.notebook import read_notebook
from tinymixer.lessons.progress import grade_exercise, grade_folder


def verdicts_on(path, *numbers):
    return {verdict.number: verdict for verdict in grade(read_notebook(path), list(numbers))}


def verdict_on(tmp_path, *cells, number="2.2"):
    """The verdict on an exercise whose notebook has these cells, reached in this process."""
    return verdicts_on(write_notebook(tmp_path / "a.ipynb", *cells), number)[number]


def test_what_an_answer_rests_on_is_run_and_experiments_are_not(tmp_path):
    verdict = verdict_on(
        tmp_path,
        "%matplotlib inline\nimport math\n!ls",
        "if True:\n    %pip install something\nRATE = 0.5\nfigure = 1 / 0\nprint('experiment', 1 / 0)",
        "def my_bias_gradient(dy):\n    return dy.sum(axis=0) * RATE * math.floor(2.5)\nraise SystemExit",
    )
    assert verdict.passed, verdict


# Each passes in the notebook; BEFORE and AFTER stand for cells before and after the one with the answer.
USES = "def my_bias_gradient(dy):\n    return dy.sum(axis=AXIS) + ZERO\n"
RIGHT_IN_THE_NOTEBOOK = {
    "an annotated constant": ["AXIS: int = 0\nZERO: float = 0.0", USES],
    "two constants at once": ["AXIS, ZERO = 0, 0.0", USES],
    "constants nested and starred": ["(AXIS, *REST), ZERO = [0, 1, 2], 0", USES],
    "a chain of constants": ["AXIS = ZERO = 0", USES],
    "a constant changed in place": ["AXIS = 1\nAXIS -= 1\nZERO = 0", USES],
    "a constant from a condition": ["if True:\n    AXIS = 0\nelse:\n    AXIS = 1\nZERO = 0", USES],
    "a constant from a loop": ["ZERO = 1\nfor AXIS in (1, 0):\n    ZERO -= 1 - AXIS", USES],
    "a constant from a with": ["import contextlib\nwith contextlib.nullcontext(0) as AXIS:\n    ZERO = AXIS", USES],
    "a constant from a walrus": ["print(AXIS := 0, ZERO := 0)", USES],
    "a constant in a later cell": [USES, "AXIS = ZERO = 0"],
    "a default from a later cell": ["def my_bias_gradient(dy, axis=AXIS):\n    return dy.sum(axis)", "AXIS = 0"],
    "a constant made of variables": ["first = 2\nsecond = first - 2", "AXIS = second\nZERO = second * 1.0", USES],
    "a variable in small letters": ["axis = 0", "def my_bias_gradient(dy):\n    return dy.sum(axis=axis)"],
    "a list that grows": [
        "AXES = []\nZERO = 0",
        "AXES.append(0)",
        "def my_bias_gradient(dy): return dy.sum(AXES[0])",
    ],
    "a table filled by a loop": [
        "TABLE = {}",
        "for key in 'ab':\n    TABLE[key] = 0",
        "def my_bias_gradient(dy): return dy.sum(TABLE['b'])",
    ],
    "an import that may fail": [
        "try:\n    import no_such_package as fast\nexcept ImportError:\n    import numpy as fast",
        "def my_bias_gradient(dy): return fast.sum(dy, axis=0)",
    ],
    "a star import": ["from math import *", "def my_bias_gradient(dy): return dy.sum(axis=floor(0.5))"],
    "a lambda": ["my_bias_gradient = lambda dy: dy.sum(axis=0)"],
    "another function's name": ["def total(dy): return dy.sum(axis=0)\nmy_bias_gradient = total"],
    "a partial function": [
        "import functools\nimport numpy as np",
        "my_bias_gradient = functools.partial(np.sum, axis=0)",
    ],
    "a function made by a function": [
        "def make(axis):\n    return lambda dy: dy.sum(axis)\nmy_bias_gradient = make(0)"
    ],
    "a decorator": ["def plain(f): return f", "@plain\n" + RIGHT],
    "a class with annotations of the future": [
        "from __future__ import annotations",
        "from dataclasses import dataclass\n@dataclass\nclass Axis:\n    number: Unknown = 0",
        "def my_bias_gradient(dy: Nowhere):\n    return dy.sum(Axis().number)",
    ],
    "a definition inside a condition": ["if 1 + 1 == 2:\n    def my_bias_gradient(dy):\n        return dy.sum(axis=0)"],
    "the last of two definitions": ["def my_bias_gradient(dy): return missing(dy)", RIGHT],
    "a line that begins with %": [
        "def my_bias_gradient(dy):\n    return dy.sum(axis=(\n        4\n        % 2\n    ))"
    ],
    "% and ! inside a text": ['TEXT = """\n%magic\n!ls\nname?\n"""', RIGHT],
    "a magic, a command, a question": ["%matplotlib inline\n!ls -l | head\nnp.sum?\n?np.sum\nfiles = !ls\n" + RIGHT],
    "a broken command": ["!echo 'it is (\n%timeit f(\n" + RIGHT],
    "%time before a constant": ["%time AXIS = 0\n%time ZERO = AXIS", USES],
    "%%time over a cell": ["%%time\n" + RIGHT],
    "%%capture over %%time": ["\n%%capture said\n%%time\nAXIS = 0\nZERO = 0", USES],
    "a cell of another language": ["%%bash\nfor i in 1 2; do echo $i; done", "%%html\n<b>", RIGHT],
    "%%writefile does not define": [RIGHT, "%%writefile other.py\ndef my_bias_gradient(dy):\n    return 0\n"],
    "display without an import": ["def my_bias_gradient(dy):\n    display(dy.shape)\n    return dy.sum(axis=0)"],
    "a comment and nothing else": ["# nothing\n", "", RIGHT],
    "an early exit": ["import sys\nsys.exit()", "exit()", "quit", RIGHT],
    "an await beside it": ["import asyncio\nawait asyncio.sleep(0)", RIGHT],
    "names that a later cell uses for something else": [
        "AXIS = ZERO = 0",
        USES + "check('2.2', my_bias_gradient)",
        "for AXIS in (1, 2):\n    ZERO = AXIS",
        "def my_bias_gradient(dy): return 'an experiment'",
    ],
    "checked before its constant": [USES + "check('2.2', my_bias_gradient)", "AXIS = ZERO = 0"],
    "checked twice": [
        "def my_bias_gradient(dy): return 0\ncheck('2.2', my_bias_gradient)",
        RIGHT + "check(2.2, my_bias_gradient)",
    ],
    "written again below, unchecked": ["def my_bias_gradient(dy): return 0\ncheck('2.2', my_bias_gradient)", RIGHT],
    "prints that are no answer's": ["print('x' * 10_000_000)", RIGHT],
}


@pytest.mark.parametrize("cells", RIGHT_IN_THE_NOTEBOOK.values(), ids=RIGHT_IN_THE_NOTEBOOK)
@pytest.mark.parametrize("ipython", [True, False], ids=["IPython", "without"])
def test_what_is_right_in_the_notebook_is_right_here(tmp_path, monkeypatch, cells, ipython):
    if not ipython:
        _without_ipython(monkeypatch)
    verdict = verdict_on(tmp_path, *cells)
    assert verdict.passed, f"{verdict}"


def _without_ipython(monkeypatch):
    real = builtins.__import__

    def importing(name, *arguments, **keywords):
        if name.partition(".")[0] == "IPython":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_what_a_cell_would_write_can_be_imported(tmp_path, monkeypatch):
    path = write_notebook(
        tmp_path / "a.ipynb",
        "%%writefile my_written_helpers.py\ndef total(dy):\n    return dy.sum(axis=0)\n",
        "%%writefile -a my_written_helpers.py\ntotal_of = total\n",
        "%%writefile ../outside.py\n1",
        "from my_written_helpers import total_of",
        "def my_bias_gradient(dy):\n    return total_of(dy)",
    )
    folder = tmp_path / "written"
    folder.mkdir()
    write_files(read_notebook(path), folder)
    assert not (tmp_path / "outside.py").exists()
    monkeypatch.syspath_prepend(folder)
    assert verdicts_on(path, "2.2")["2.2"].passed
    sys.modules.pop("my_written_helpers")


def test_a_command_that_gives_a_value_is_told_of(tmp_path):
    verdict = verdict_on(tmp_path, "FILES = !ls", "def my_bias_gradient(dy):\n    return dy.sum(len(FILES))")
    assert "not run here" in verdict.details["notebook"]
    verdict = verdict_on(tmp_path, "def my_bias_gradient(dy):\n    !ls\n    return dy.sum(axis=0)")
    assert "not run here" in verdict.sentence


def test_a_cell_that_is_not_python_is_told_of_and_the_others_count(tmp_path):
    verdicts = verdicts_on(
        write_notebook(tmp_path / "a.ipynb", "def my_linear_forward(x, weight, bias:\n", RIGHT), "2.1", "2.2"
    )
    assert verdicts["2.2"].passed
    verdict = verdicts["2.1"]
    assert verdict.state == "wrong"
    assert "Code cell 1 is not Python yet" in verdict.sentence


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("import no_such_package as np2", "No module named 'no_such_package'"),
        ("np2 = exit()", "SystemExit"),
        ("np2 = 1 / 0", "ZeroDivisionError"),
        ("raise_ = 0\nnp2 = [print('x' * 10**6) for _ in range(10)]", "TooMuchPrinted"),
    ],
)
def test_a_statement_that_fails_is_told_of_where_it_is_needed(tmp_path, cell, words):
    needs_it = "def my_linear_forward(x, weight, bias):\n    return np2.dot(x, weight) + bias"
    verdicts = verdicts_on(write_notebook(tmp_path / "a.ipynb", cell, RIGHT, needs_it), "2.1", "2.2")
    assert verdicts["2.2"].passed
    verdict = verdicts["2.1"]
    assert "NameError" in verdict.sentence
    assert words in verdict.details["notebook"]


def test_the_line_of_an_error_is_the_learners(tmp_path):
    verdict = verdict_on(tmp_path, "def my_bias_gradient(dy):\n    return dy.total()\n")
    assert verdict.details["line"] == "return dy.total()"


def test_a_cell_without_its_source_costs_itself_only(tmp_path):
    path = tmp_path / "a.ipynb"
    good = {"cell_type": "code", "source": RIGHT}
    path.write_text(json.dumps({"cells": [1, None, {"cell_type": "code"}, {"cell_type": "code", "source": [3]}, good]}))
    verdicts = verdicts_on(path, "2.1", "2.2")
    assert verdicts["2.2"].passed
    assert "Code cell 1 is damaged" in verdicts["2.1"].sentence


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_read(tmp_path, encoding):
    path = write_notebook(tmp_path / "a.ipynb", RIGHT)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert verdicts_on(path, "2.2")["2.2"].passed


DAMAGED = ["", "   \n", "{}", "[]", "null", '{"cells": 3}', "\x00\xff", '{"cells": [', "[" * 100_000, "<<<<<<< HEAD"]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_notebook_is_a_sentence(tmp_path, content):
    path = tmp_path / "02_linear.ipynb"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"02_linear\.ipynb is"):
        read_notebook(path)


def test_what_is_no_file_is_a_sentence(tmp_path):
    (tmp_path / "folder.ipynb").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        read_notebook(tmp_path / "folder.ipynb")
    with pytest.raises(DataError, match="cannot be read"):
        read_notebook(tmp_path / "missing.ipynb")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.ipynb")
        with pytest.raises(DataError, match="is not a file"):
            read_notebook(tmp_path / "pipe.ipynb")


def test_a_folder_without_lessons_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="There are no lessons"):
        grade_folder(tmp_path)
    with pytest.raises(DataError, match="02_linear"):
        grade_exercise("2.1", tmp_path)
    with pytest.raises(ConfigError, match="There is no exercise"):
        grade_exercise("2.9", tmp_path)


def test_a_deleted_exercise_is_told_of(tmp_path):
    path = write_notebook(tmp_path / "02_linear.ipynb", RIGHT)
    verdicts = verdicts_on(path, "2.1", "2.2")
    assert "does not define my_linear_forward" in verdicts["2.1"].sentence
    assert verdicts["2.2"].passed


def test_the_learners_own_test_file_of_before_still_runs(tmp_path):
    from tinymixer.lessons.board import grade_exercise as of_before  # what test_tasks.py in their folder imports

    write_notebook(tmp_path / "02_linear.ipynb", RIGHT_FORWARD)
    assert of_before("2.1", tmp_path).passed
