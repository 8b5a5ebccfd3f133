"""benchmarks/gpu_recipes.sh trains every run once and resumes what was cut off; with a stand-in for Python."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_recipes.sh"
STAND_IN = """#!/usr/bin/env bash
# Finishes every run at once, except best-0, whose first command only saves.
[ "$1" = -m ] || exec "{python}" "$@"
echo "$*" >>"{calls}"
while [ $# -gt 0 ]; do
    [ "$1" = --out ] && out=$2
    [ "$1" = --resume ] && resumed=1
    shift
done
mkdir -p "$out" && touch "$out/last.npz" && printf "[training]\\nsteps = 7\\n" >"$out/config.toml"
case $out in *best-0) [ -n "${{resumed:-}}" ] || exit 130 ;; esac
echo '{{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "images_per_second": 9.0, "seconds": 61.0,' \
    '"learning_rate": 0.1, "test_loss": 0.3, "test_accuracy": 0.905, "test_interval": [0.9, 0.91],' \
    '"test_images": 10000, "tested": "last"}}' >"$out/metrics.jsonl"
"""


def test_runs_are_trained_once_and_resumed(tmp_path):
    calls, python, data = tmp_path / "calls", tmp_path / "python", tmp_path / "cifar"
    python.write_text(STAND_IN.format(python=sys.executable, calls=calls))
    python.chmod(0o755)
    data.mkdir()

    def command():
        return subprocess.run(
            [SCRIPT, tmp_path / "out", data, "600"],
            env=os.environ | {"PYTHON": str(python)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    first = command()
    assert first.returncode == 3
    assert "1 runs are left" in first.stdout
    assert len(calls.read_text().splitlines()) == 9
    second = command()
    assert second.returncode == 0, second.stdout + second.stderr
    commands = calls.read_text().splitlines()
    assert len(commands) == 10
    assert "cifar10-best" in commands[-1]
    assert "--resume" in commands[-1]
    assert "--seed" not in commands[-1]
    assert all("--validation-share 0" in line for line in commands[:-1])
    assert "| best-0 | 7 | 61 | 90.50 % |" in second.stdout


def test_missing_data_are_refused(tmp_path):
    done = subprocess.run([SCRIPT, tmp_path / "out", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "there is no" in done.stderr
