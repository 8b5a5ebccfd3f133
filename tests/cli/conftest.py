"""What the tests of the command line share: running a command, and a small finished run."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import SMALL, Outcome
from tinymixer.cli import main


@pytest.fixture
def tinymixer(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder, with an empty cache: tinymixer("eval", run) -> Outcome."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYMIXER_CACHE", str(tmp_path / "cache"))

    def run(*arguments: Any) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """The folder of a run of two epochs; tests that write into it take a copy."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--out", str(folder), "--epochs", "2", "--quiet", *SMALL]) == 0
    return folder
