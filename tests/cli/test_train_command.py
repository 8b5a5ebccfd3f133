"""tinymixer train, seen from outside: what it prints, what it leaves, how it stops."""

import json
import os
import signal
import subprocess
import sys
import tomllib

import pytest

from tests.cli.running import ENVIRONMENT, SMALL, in_terminal
from tinymixer.cli.output import duration
from tinymixer.cli.recipe_options import SECTION_TITLES
from tinymixer.training.recipe_fields import SECTIONS, short_names


def test_every_field_of_the_recipe_is_an_option_listed_under_its_section(tinymixer):
    text = tinymixer("train", "--help").out
    positions = [text.index(f"\n{SECTION_TITLES[section]}:\n") for section in ("model", *SECTIONS)]
    assert positions == sorted(positions)
    for name in short_names():
        assert f"--{name.replace('_', '-')} " in text
    assert "--flip / --no-flip" in text


def test_print_recipe_resolves_the_overrides_and_makes_nothing(tinymixer, tmp_path):
    outcome = tinymixer(
        "train", "cifar10-nano", "--print-recipe", "--epochs", "5", "--no-flip", "--learning-rate", "1e-4"
    )
    recipe = tomllib.loads(outcome.out)
    assert (recipe["training"]["epochs"], recipe["augmentation"]["flip"]) == (5, False)
    assert recipe["optimizer"]["learning_rate"] == 1e-4
    assert recipe["model"]["hidden_dim"] == 128
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_ones_own(tinymixer, tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text(tinymixer("train", "--print-recipe", "--epochs", "1", *SMALL).out)
    assert tinymixer("train", own, "--out", "run").code == 0
    assert (tmp_path / "run" / "last.npz").is_file()


def test_without_a_terminal_it_prints_plain_lines_one_for_each_epoch(tinymixer, tmp_path):
    outcome = tinymixer("train", "--epochs", "2", *SMALL)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "\r" not in outcome.out
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[:8]] == [
        "recipe",
        "model",
        "data",
        "steps",
        "average",
        "backend",
        "engine",
        "folder",
    ]
    assert "numpy, float32" in lines[5]
    epochs = [line for line in lines if line.lstrip().startswith(("1/2", "2/2"))]
    rows = [json.loads(row) for row in (tmp_path / "runs/digits/metrics.jsonl").read_text().splitlines()]
    for line, row in zip(epochs, rows, strict=True):
        assert f"{row['train_loss']:.4f}" in line
        assert f"{100 * row['validation_accuracy']:.2f} %" in line
    assert f"test accuracy {100 * rows[-1]['test_accuracy']:.2f} % (95 % interval" in outcome.out
    assert "runs/digits/curves.png" in outcome.out
    assert lines[-1].split(maxsplit=1)[1] == "tinymixer eval runs/digits"


def test_a_run_without_the_fast_engine_says_why(tinymixer):
    outcome = tinymixer("train", "--steps", "1", "--gated", "--tokens-mlp-dim", "4", *SMALL)
    assert outcome.code == 0
    assert "(not the cpu engine: it does not know gated = True)" in outcome.out


def test_quiet_prints_the_result_alone(tinymixer):
    outcome = tinymixer("train", "--epochs", "1", "--quiet", *SMALL)
    assert len(outcome.out.splitlines()) == 1
    assert outcome.out.startswith("finished: 1 epoch in ")
    assert ", test accuracy " in outcome.out


def test_a_finished_run_is_not_trained_again(tinymixer, finished_run):
    again = tinymixer("train", "--out", finished_run, "--resume")
    assert again.code == 0
    assert "already finished" in again.out
    assert tinymixer("train", "--out", finished_run).is_error("holds a run already", "--resume")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("digitz",), ("no recipe 'digitz'", "Did you mean 'digits'?")),
        (("--epochs", "0"), ("epochs", "1 or more")),
        (("--epochs", "many"), ("--epochs", "'many' is not a valid integer")),
        (("--learning-rate", "nan"), ("learning_rate", "finite")),
        (("--patch-size", "3"), ("patch_size 3 does not divide image_size 8", "1, 2, 4, 8")),
        (("--gelu", "relu"), ("--gelu", "'tanh', 'erf'")),
        (("--num-classes", "7"), ("num_classes",)),
        (("--resume",), ("--out",)),
        (("--resume", "--out", "nowhere"), ("nowhere", "no run")),
        (("cifar10-tiny",), ("tinymixer data fetch cifar10", "--data PATH")),
        (("cifar10-tiny", "--data", "nowhere.tar.gz"), ("nowhere.tar.gz",)),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tinymixer, tmp_path, arguments, fragments):
    outcome = tinymixer("train", *arguments)
    assert outcome.is_error(*fragments), outcome.err
    assert list(tmp_path.iterdir()) == []


def test_durations():
    assert [duration(seconds) for seconds in (0, 7.4, 754, 3723)] == ["0:00", "0:07", "12:34", "1:02:03"]


@pytest.mark.skipif(os.name == "nt", reason="signals and terminals are those of POSIX")
class TestStopping:
    COMMAND = (sys.executable, "-m", "tinymixer", "train", "--epochs", "500", "--out", "run", *SMALL)

    def test_sigterm_saves_says_how_to_go_on_and_exits_143(self, tmp_path):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(self.COMMAND, cwd=tmp_path, env=ENVIRONMENT, **pipes)
        assert process.stdout
        for line in process.stdout:
            if line.lstrip().startswith("1/500"):
                process.send_signal(signal.SIGTERM)
                break
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143
        assert "tinymixer train digits --out run --resume" in err
        assert (tmp_path / "run/last.npz").is_file()

    def test_in_a_terminal_a_live_bar_and_ctrl_c(self, tmp_path):
        code, screen = in_terminal(self.COMMAND, tmp_path, until="2/500 ", then=b"\x03")
        assert code == 130
        bars = [part for part in screen.split("\r") if part.startswith("epoch 1/500")]
        assert any("images/s" in bar and "left" in bar and "loss" in bar for bar in bars)
        assert max(len(bar.rstrip("\n")) for bar in bars) <= 80
        assert "Traceback" not in screen
        assert "--out run --resume" in screen

    def test_in_a_terminal_the_course_of_the_run_is_drawn(self, tmp_path):
        command = (*self.COMMAND[:4], "--epochs", "3", "--out", "run", *SMALL)
        code, screen = in_terminal(command, tmp_path)
        assert code == 0
        assert "validation accuracy  " in screen
        assert "\N{FULL BLOCK}" in screen.split("validation accuracy  ")[1]


@pytest.mark.parametrize(("option", "meant"), [("--lr", "--learning-rate"), ("--bs", "--batch-size")])
def test_options_by_other_programs_names_are_told_ours(tinymixer, option, meant):
    assert tinymixer("train", option, "1").is_error(f"here it is called {meant}")


def test_help_shows_defaults(tinymixer):
    shown = " ".join(tinymixer("train", "--help").out.split())
    assert "Channels of a token (C). [default: 128]" in shown
    assert "Number of classes (K). [default: the data's]" in shown


def test_recipe_names_complete_in_the_shell():
    from click.shell_completion import ShellComplete

    from tinymixer.cli.program import program

    complete = ShellComplete(program, {}, "tinymixer", "_TINYMIXER_COMPLETE")
    assert [item.value for item in complete.get_completions(["train"], "cifar10-n")] == ["cifar10-nano"]
    assert [item.type for item in complete.get_completions(["train"], "mine")] == ["file"]
