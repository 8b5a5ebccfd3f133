"""Answers in a process of their own: whatever one does, it gets its sentence and the others their verdict."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.lessons.notebooks import RIGHT_FORWARD, write_notebook
from tinymixer.lessons import worker
from tinymixer.lessons.isolated import Patience, grade_notebook
from tinymixer.lessons.progress import grade_folder

DURATION = 1.5  # seconds that an answer may take in these tests


def graded(tmp_path, *cells):
    path = write_notebook(tmp_path / "02_linear.ipynb", RIGHT_FORWARD, *cells)
    return grade_notebook(path, ["2.1", "2.2"], Patience((DURATION,)))


def hostile(body):
    return "import os, sys, time, signal, threading, subprocess\nimport numpy as np\n" + (
        "def my_bias_gradient(dy):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )


HOSTILE = {
    "exit": ("exit()", "SystemExit"),
    "sys.exit": ("sys.exit(0)", "SystemExit"),
    "an interrupt of its own": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "os._exit": ("os._exit(0)", "ended Python itself (exit code 0)"),
    "an endless loop": ("while True:\n    pass", "did not end within 1.5 s"),
    "an endless wait": ("time.sleep(1000)", "did not end"),
    "a program that never ends": ("subprocess.run([sys.executable, '-c', 'while True: pass'])", "did not end"),
    "printing without end": ("while True:\n    print('x' * 1000)", "characters were printed"),
    "writing without end": ("while True:\n    os.write(1, b'x' * 100_000)", "did not end"),
    "an array too large": ("return np.ones(10**12)", "MemoryError"),
    "waiting for the keyboard": ("return input()", "EOFError"),
    "recursion without end": ("return my_bias_gradient(dy)", "RecursionError"),
    "a message without end": ("raise ValueError('x' * 10**7)", "ValueError: xxx"),
    "no text at all": ("raise ValueError('\\ud800\\x1b[2J')", "ValueError"),
    "closing what is not its own": ("os.closerange(0, 100)\nreturn dy.sum(axis=0)", "ended Python itself"),
}  # fmt: skip
if hasattr(signal, "SIGKILL"):
    HOSTILE["a crash"] = ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV")
    HOSTILE["deaf to signals"] = ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()", "did not end")


@pytest.mark.parametrize(("body", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_costs_its_own_row_only(tmp_path, body, words):
    started = time.monotonic()
    verdicts = graded(tmp_path, hostile(body))
    assert time.monotonic() - started < 30
    assert verdicts["2.1"].passed, verdicts["2.1"]
    assert verdicts["2.2"].state == "wrong"
    assert words in verdicts["2.2"].sentence
    assert len(str(verdicts["2.2"])) < 3000


def test_the_line_that_never_ends_is_shown(tmp_path):
    verdict = graded(tmp_path, hostile("i = 0\nwhile i < 10:\n    continue\nreturn i"))["2.2"]
    assert verdict.details["line"] in ("while i < 10:", "continue")
    assert "never becomes false" in verdict.hint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds a process to its memory")
def test_memory_that_grows_without_end_is_refused_and_given_back(tmp_path):
    grows = "KEPT = []\n" + hostile("while True:\n    KEPT.append(np.ones(5_000_000))")
    path = write_notebook(tmp_path / "02_linear.ipynb", grows, RIGHT_FORWARD)
    verdicts = grade_notebook(path, ["2.2", "2.1"])
    assert "MemoryError" in verdicts["2.2"].sentence
    assert verdicts["2.1"].passed


def test_threads_and_programs_left_behind_are_ended(tmp_path):
    body = f"""
    program = subprocess.Popen([sys.executable, '-c', "import time; time.sleep(1000)"])
    open({str(tmp_path / "program")!r}, 'w').write(str(program.pid))
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return dy.sum(axis=0)
    """
    started = time.monotonic()
    assert graded(tmp_path, hostile(body))["2.2"].passed
    assert time.monotonic() - started < 20
    if hasattr(os, "killpg"):
        program = int((tmp_path / "program").read_text())
        while runs(program):
            assert time.monotonic() - started < 40
            time.sleep(0.05)


def runs(process):
    """Whether a process runs: one that was ended may wait for its parent to ask."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    told = Path(f"/proc/{process}/stat")
    return not (told.exists() and told.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize(
    "constant", ["[0 for _ in iter(int, 1)]", "__import__('os')._exit(0)", "exit()", "__import__('numpy').ones(10**12)"]
)
def test_a_hostile_statement_costs_what_rests_on_it(tmp_path, constant):
    rests_on_it = "def my_bias_gradient(dy):\n    return dy.sum(axis=AXIS)"
    verdicts = graded(tmp_path, f"print('first')\nAXIS = {constant}", rests_on_it)
    assert verdicts["2.1"].passed
    assert verdicts["2.2"].state == "wrong"
    assert "Code cell 2, line 2" in verdicts["2.2"].details["notebook"]


def test_a_notebook_that_cannot_be_read_is_wrong_in_each_of_its_rows(tmp_path):
    (tmp_path / "02_linear.ipynb").write_bytes(b"")
    (tmp_path / "04_gelu.ipynb").symlink_to("nowhere")
    (tmp_path / "05_layer_norm.ipynb").mkdir()
    (tmp_path / "00_start_here.ipynb").write_bytes(b"\xff\xfe\x00")
    write_notebook(tmp_path / "03_gradient_checking.ipynb", "import numpy as np")
    rows = {state.lesson.number: state.verdicts for state in grade_folder(tmp_path)}
    assert list(rows) == ["00", "02", "03", "04", "05"]
    for number in ("00", "02", "04", "05"):
        assert {verdict.state for verdict in rows[number]} == {"wrong"}
        assert all(f"{number}_" in verdict.sentence for verdict in rows[number])
    assert "is empty" in rows["02"][0].sentence


def test_modules_beside_the_notebook_are_found_and_those_of_ours_are_not_replaced(tmp_path):
    (tmp_path / "helpers_of_mine.py").write_text("def total(dy):\n    return dy.sum(axis=0)\n")
    (tmp_path / "json.py").write_text("raise SystemExit")
    verdicts = graded(tmp_path, "from helpers_of_mine import total", "def my_bias_gradient(dy): return total(dy)")
    assert verdicts["2.2"].passed, verdicts["2.2"]


def test_a_system_without_limits_of_memory_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows
    worker._limit_memory(2**30)
    monkeypatch.setattr(worker, "STATM", worker.Path("no_such_file"))
    assert worker.memory_in_use() == 0


def test_nothing_is_left_in_the_learners_folder(tmp_path):
    (tmp_path / "helpers_of_mine.py").write_text("def total(dy):\n    return dy.sum(axis=0)\n")
    cells = ("%%writefile more.py\n1", "from helpers_of_mine import total as my_bias_gradient")
    assert graded(tmp_path, *cells)["2.2"].passed
    assert {path.name for path in tmp_path.iterdir()} == {"02_linear.ipynb", "helpers_of_mine.py"}


def test_patience_wears_off_and_ends():
    patience = Patience((4.0, 2.0), altogether=100)
    assert patience.seconds() == 4
    patience.spend()
    patience.spend()
    assert patience.seconds() == 2
    assert Patience((4.0,), altogether=0).seconds() == 0


def test_what_there_is_no_time_for_is_said(tmp_path):
    path = write_notebook(tmp_path / "02_linear.ipynb", RIGHT_FORWARD)
    verdict = grade_notebook(path, ["2.1"], Patience(altogether=0))["2.1"]
    assert verdict.state == "wrong"
    assert "not checked" in verdict.sentence
    assert "pytest -k task_2_1" in verdict.hint


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals of POSIX")
def test_interrupting_ends_the_processes_too(tmp_path):
    mark = tmp_path / "running"
    body = f"open({str(mark)!r}, 'w').write(str(os.getpid()))\nwhile True:\n    pass"
    write_notebook(tmp_path / "02_linear.ipynb", hostile(body))
    command = [sys.executable, "-m", "tinymixer", "lessons", "status", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while time.monotonic() < until and not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
