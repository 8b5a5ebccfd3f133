"""`tinymixer launch` and what ranks say, with a stand-in for MPI's launcher (a real one: tests/parallel/)."""

import importlib.util
import json
import sys

import pytest
from click.exceptions import Exit

from tests.cli.running import SMALL
from tinymixer.cli.ranks import STATUS, joined_ranks, tell_launcher_code
from tinymixer.errors import DataError, install_line
from tinymixer.parallel.ranks import ManyRanks

RUNS_ONE = """
import subprocess, sys
assert sys.argv[1] == "-n"
code = subprocess.call(sys.argv[3:])
sys.exit(code or {after})
"""


@pytest.fixture
def mpi4py(monkeypatch):
    """As if it were installed; the stand-in launcher does not need it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found("json" if name == "mpi4py" else name))


@pytest.fixture
def launcher(tmp_path, mpi4py):
    """A launcher that starts one process, whatever it is asked for, and exits with a code of its own after that."""

    def make(after=0):
        path = tmp_path / "launcher.py"
        path.write_text(RUNS_ONE.format(after=after))
        return f"'{sys.executable}' '{path}'"

    return make


def test_it_starts_the_command_and_passes_its_exit_code_on(tinymixer, launcher, tmp_path):
    options = ["--epochs", 1, "--out", tmp_path / "run", "-q", *SMALL]
    command = ["launch", "-n", 2, "--mpiexec", launcher(), "train", *options]
    assert tinymixer(*command).code == 0
    assert (tmp_path / "run" / "last.npz").is_file()
    assert tinymixer(*command).code == 2  # the folder holds a run: the process says so, and the launcher saw no crash


def test_after_a_crash_it_says_how_to_go_on(tinymixer, launcher, tmp_path):
    out = tmp_path / "my run"
    options = ["--epochs", 1, "--out", out, *SMALL]
    found = tinymixer("launch", "-n", 3, "--mpiexec", launcher(after=9), "train", "digits", *options)
    assert found.code == 1
    assert "error: a process has died, and the others were ended with it (exit code 9;" in found.err
    assert f"tinymixer launch -n 3 train digits --out '{out}' --resume" in found.err
    assert "on any number of processes" in found.err


def test_a_misspelt_option_is_said_by_rank_0_alone(tinymixer, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    for rank, code in (("0", 2), ("1", 0)):
        monkeypatch.setenv("PMI_RANK", rank)
        found = tinymixer("train", "--epocs", 1)
        assert found.code == code
        assert ("--epocs" in found.err) == (rank == "0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", 2, "eval", "runs/x"], "only train runs in several processes, not 'eval'"),
        (["-n", 2, "--mpiexec", "no-such-launcher", "train"], "no-such-launcher cannot be started"),
    ],
)
def test_what_it_cannot_start_is_a_sentence(tinymixer, mpi4py, options, words):
    assert tinymixer("launch", *options).is_error(words)


def test_without_mpi4py_it_names_the_extra(tinymixer, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mpi4py" else object())
    assert tinymixer("launch", "-n", 2, "train").is_error("mpi4py", install_line("mpi"))


@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is not None, reason="mpi4py is installed")
def test_a_launched_process_without_mpi4py_names_the_extra(tinymixer, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    found = tinymixer("train", "--epochs", 1)
    assert found.is_error("mpiexec started this process to train together with others", "tinymixer[mpi]")


class Two(ManyRanks):
    """A rank of two whose other one has ended with `other`; None: it has not ended."""

    host = "here"

    def __init__(self, rank, other):
        super().__init__(rank, 2)
        self.other, self.aborted = other, False

    def ended(self, sentence):
        both = [self.other, self.other]
        both[self.rank] = sentence
        return None if self.other is None else both

    def abort(self, code=1):
        self.aborted = True


@pytest.mark.parametrize(
    ("rank", "other", "raised", "said", "aborted"),
    [
        (0, "no data", DataError, "", False),  # all failed alike: the command reports it, once
        (1, "no data", Exit, "", False),
        (1, "another", Exit, "rank 1 of 2 on here: error: no data\n", False),
        (1, None, Exit, "rank 1 of 2 on here: error: no data\n", True),  # alone: it ends the other
        (0, None, DataError, "rank 0 of 2 on here: error: no data\n", True),
    ],
)
def test_an_error_is_told_once_or_with_its_rank(rank, other, raised, said, aborted, monkeypatch, capsys):
    ranks = Two(rank, other)
    monkeypatch.setattr("tinymixer.cli.ranks.launched_ranks", lambda say: ranks)
    with pytest.raises(raised), joined_ranks():
        raise DataError("no data")
    assert capsys.readouterr().err == said
    assert ranks.aborted == aborted


def test_the_exit_code_goes_through_the_launchers_file(tmp_path, monkeypatch):
    assert tell_launcher_code(2) == 2
    monkeypatch.setenv(STATUS, str(tmp_path / "status.json"))
    assert tell_launcher_code(130) == 0
    assert json.loads((tmp_path / "status.json").read_text()) == {"code": 130}
    monkeypatch.setenv(STATUS, str(tmp_path / "nowhere" / "status.json"))  # another machine
    assert tell_launcher_code(130) == 130
