"""The learner's progress in a cell: a table that reads well aloud, and a text where there is no HTML."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.lessons.notebooks import RIGHT, RIGHT_FORWARD, write_notebook
from tinymixer.lessons import show_progress
from tinymixer.lessons.progress import grade_folder
from tinymixer.lessons.progress_table import progress_page

ROOT = Path(__file__).parents[2]
WRONG_BACKWARD = "def my_linear_backward(dy, cache):\n    return 1, 2 < 3, '<b>'\n"


class Table(HTMLParser):
    """The rows of a table as lists of texts; `others` are the texts outside it."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.others, self.headers, self._open = [], [], [], []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "th":
            self.headers.append(dict(attributes)["scope"])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        (self.rows[-1] if self._open[-1] in ("td", "th") else self.others).append(data)


@pytest.fixture
def folder(tmp_path):
    write_notebook(tmp_path / "02_linear.ipynb", RIGHT + RIGHT_FORWARD + WRONG_BACKWARD)
    return tmp_path


def test_the_table_says_in_words_what_is_right_wrong_and_to_do(folder):
    table = Table(progress_page(grade_folder(folder)))
    assert table.rows[0] == ["lesson", "done", "\N{HEAVY CHECK MARK} right", "\N{HEAVY BALLOT X} wrong", "· to do"]
    assert table.rows[1][:4] == ["02 Linear, forward and backward", "2 of 4", "2.1, 2.2", "2.3, 2.4"]
    assert table.rows[1][4] == "none"
    assert table.headers == ["col"] * 5 + ["row"]
    assert table.others[0] == "2 of 4 exercises done; next: 2.3 Linear backward"
    assert any("2.3 Linear backward" in text and "hint" in text for text in table.others)


def test_a_notebook_gets_html_with_the_text_beside_it(folder, monkeypatch):
    display = pytest.importorskip("IPython.display", reason="IPython is not installed: pip install -e '.[dev]'")
    shown = []
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": None})())
    show_progress(folder)
    assert list(shown[0]) == ["text/html", "text/plain"]
    assert "2 of 4 exercises done" in shown[0]["text/plain"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("in_a_script", [True, False])
def test_every_console_gets_marks_that_it_can_write(folder, encoding, in_a_script):
    code = "from tinymixer.lessons import show_progress; show_progress()"
    command = ["-c", code] if in_a_script else ["-m", "tinymixer", "lessons", "status", "."]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, env=environment, check=False)
    said = done.stdout.decode(encoding)
    right, wrong = ("\N{HEAVY CHECK MARK}", "\N{HEAVY BALLOT X}") if encoding == "utf-8" else ("+", "x")
    assert f"{right} {right} {wrong} {wrong}  2 of 4" in said, done.stderr.decode()
    assert f"\n{wrong} 2.3 Linear backward" in said
    assert "\\x" not in said
    assert "\\u" not in said


def test_a_folder_without_lessons_is_a_sentence_that_tells_colab_more(tmp_path, capsys, monkeypatch):
    show_progress(tmp_path)
    assert "There are no lessons" in (said := capsys.readouterr().out)
    assert "Drive" not in said
    monkeypatch.setitem(sys.modules, "google.colab", None)
    show_progress(tmp_path)
    assert "drive.mount" in capsys.readouterr().out


def test_colabs_name_for_a_copy_is_known(tmp_path):
    write_notebook(tmp_path / "Copy of 02_linear.ipynb", RIGHT)
    (state,) = grade_folder(tmp_path)
    assert state.done == 1


@pytest.mark.parametrize("stem", ["00_start_here", "10_training", "11_gpu"])
def test_a_lesson_needs_nothing_that_the_extra_notebook_does_not_bring(stem):
    """Its imports, with the packages of the other extras out of reach. Colab's own are there anyway."""
    cells = json.loads((ROOT / "lessons" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in "".join(cell["source"]).split("\n\n")]
    imports = "\n".join(line for line in lines if line.startswith(("from tinymixer", "import ")) and "sys" not in line)
    hidden = "import sys\nfor name in ('click', 'rich', 'jupyterlab', 'pytest'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", hidden + imports]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
