"""The program as a whole: help, version, mistyped commands, missing packages, closed pipes, defects."""

import importlib.util
import subprocess
import sys

import click
import pytest

from tests.cli.running import ENVIRONMENT
from tinymixer import __version__
from tinymixer.cli import main
from tinymixer.cli.failures import run_reporting_failures
from tinymixer.errors import ConfigError, install_line

CLI = install_line("cli")

COMMANDS = ("train", "eval", "predict", "plot", "gradcheck", "bench", "data", "doctor")


def test_alone_it_shows_its_help_and_every_command(tinymixer):
    for arguments in ((), ("-h",), ("--help",)):
        outcome = tinymixer(*arguments)
        assert outcome.code == 0
        assert all(f"\n  {command} " in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), ("data", "fetch"), ("data", "info")])
def test_every_command_has_a_help_text_with_examples(tinymixer, command):
    outcome = tinymixer(*command, "--help")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) > 5
    assert command == ("data",) or f"Examples:\n    tinymixer {' '.join(command)}" in outcome.out


def test_version(tinymixer):
    assert tinymixer("--version").out == f"tinymixer {__version__}\n"


def test_a_mistyped_command_gets_the_nearest_one(tinymixer):
    assert tinymixer("trian").is_error("no command 'trian'", "Did you mean 'train'?", "tinymixer --help")
    assert tinymixer("data", "fecth").is_error("Did you mean 'fetch'?")


def test_a_mistyped_option_gets_the_nearest_one(tinymixer):
    assert tinymixer("train", "--lerning-rate", "1").is_error("--lerning-rate", "--learning-rate")


def test_without_its_packages_it_says_what_to_install(capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("click", "rich") else real(name))
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: the command line needs click, rich: " + CLI + "\n"


def test_help_loads_nothing_heavy():
    script = "import sys; from tinymixer.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert not {"matplotlib", "PIL", "rich", "tqdm", "tinymixer.training", "tinymixer.data"} & set(done.stderr.split())


def test_python_m_tinymixer_and_a_reader_that_goes_away():
    command = f"'{sys.executable}' -m tinymixer gradcheck linear --json"
    done = subprocess.run(f"{command} | head -1", shell=True, capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == ("[\n", "")


def _failing_with(error):
    @click.command()
    def command():
        raise error

    return run_reporting_failures(command, [])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("choose another"), 2, "error: choose another\n"),
        (OSError(28, "No space left on device", "run/last.npz"), 2, "error: run/last.npz: No space left on device\n"),
        (
            ModuleNotFoundError("no", name="PIL"),
            2,
            "error: the package 'PIL' is not installed: " + CLI + "\n",
        ),
        (MemoryError(), 2, "error: out of memory: try a smaller batch, picture or model\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(capsys, error, code, message):
    assert _failing_with(error) == code
    assert capsys.readouterr().err == message


def test_a_defect_shows_its_traceback_and_asks_for_a_report(capsys):
    assert _failing_with(ZeroDivisionError("inside")) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: inside" in err
    assert "report it" in err
