"""Closed, full and narrow standard outputs: training continues, and what it saved stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinymixer.training import load_checkpoint

SMALL = "--epochs 2 --num-blocks 1 --hidden-dim 8"


def without_pictures(folder: Path) -> dict[str, str]:
    """The environment in which a command finds no Matplotlib, which would take half of its time."""
    stand_in = folder / "stand_in"
    stand_in.mkdir()
    (stand_in / "matplotlib.py").write_text("raise ImportError('for the time')\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(stand_in), os.environ.get("PYTHONPATH")]))}


def train(folder: Path, shell: str, **environment: str) -> subprocess.CompletedProcess:
    command = f'"{sys.executable}" -m tinymixer train --out run {SMALL} {shell}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "| head -1", "| true"])
def test_training_ends_well_whatever_becomes_of_its_output(tmp_path, shell):
    draws = shell == ">&- 2>&-"  # once with its curves
    done = train(tmp_path, shell, **({} if draws else without_pictures(tmp_path)))
    assert (tmp_path / "run" / "curves.png").exists() == draws
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.epoch == 2
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert ("standard output cannot be written" in done.stderr) == (shell == "> /dev/full")


def test_names_that_a_console_cannot_show_stop_nothing(tmp_path):
    (tmp_path / "r\N{GREEK SMALL LETTER PI}.toml").write_text("[data]\ndataset = 'digits'\n[model]\npatch_size = 4\n")
    done = subprocess.run(
        [sys.executable, "-m", "tinymixer", "train", "r\N{GREEK SMALL LETTER PI}.toml", "--out", "run", *SMALL.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "recipe   r" in done.stdout


def test_a_stranger_s_recipe_cannot_write_to_the_terminal(tmp_path):
    (tmp_path / "escape.toml").write_text(
        'name = "a"\ndescription = "\\u001b]0;owned\\u0007"\n[data]\ndataset = "digits"\n[model]\npatch_size = 4\n'
    )
    (tmp_path / "key.toml").write_text('[model]\n"\\u001b[2Jx" = 1\n')
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **without_pictures(tmp_path)}
    for name in ("escape.toml", "key.toml"):
        done = subprocess.run(
            [sys.executable, "-m", "tinymixer", "train", name, "--out", name + "-run", *SMALL.split()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert "\x1b" not in done.stdout + done.stderr
