"""SIGKILL at random moments, during saving included, never leaves a checkpoint that cannot be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.kill_many_times import CHOICES
from tests.training.small_runs import StopAfter, assert_same_checkpoint, run_small
from tinymixer.training import read_rows

ROOT = Path(__file__).parents[2]
KILLS = 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_fifty_kills(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests/training/kill_many_times.py"), str(tmp_path / "run"), str(KILLS)]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert report["endings"] == ["killed"] * KILLS, result.stderr
    assert report["half_written"] >= 5, "too few kills struck while a checkpoint was being written"

    epoch, step = report["position"]
    reached = epoch * (40 // CHOICES["batch_size"]) + step
    assert reached >= 2, "the run hardly moved between the kills"

    # The much-killed run goes on a little, and stands where one that was left in peace stands.
    run_small(tmp_path / "run", StopAfter(reached + 3), resume=True, **CHOICES)
    run_small(tmp_path / "peaceful", StopAfter(reached + 3), **(CHOICES | {"checkpoint_every_steps": 0}))
    assert_same_checkpoint(tmp_path / "run" / "last.npz", tmp_path / "peaceful" / "last.npz")
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    rows = [row["epoch"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")]
    assert rows == list(range(1, 1 + (reached + 2) // (40 // CHOICES["batch_size"])))
