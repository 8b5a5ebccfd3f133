"""Two processes under a real MPI: `make ranks` installs it (mpi4py and the mpich wheel) and runs these."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import assert_same_checkpoint
from tinymixer.training import load_checkpoint, read_rows

pytestmark = [
    pytest.mark.ranks,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed (make ranks)"),
]
ROOT = Path(__file__).parents[2]
LAUNCHED = "PMI", "MPI", "OMPI", "PMIX", "SLURM", "TINYMIXER"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHED)}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
TINYMIXER = [sys.executable, "-m", "tinymixer"]
MPIEXEC = [shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"]
SMALL = ["digits", "--num-blocks", "2", "--hidden-dim", "32", "--tokens-mlp-dim", "16", "--channels-mlp-dim", "64"]
FEW = [*SMALL, "--epochs", "2"]  # 2 epochs of 40 steps
LONG = [*SMALL, "--epochs", "500", "--checkpoint-every-steps", "10"]


def run(*command, **more):
    environment = ENVIRONMENT | more
    words = [str(word) for word in command]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100, check=False)


def launch(count, *options):
    return run(*TINYMIXER, "launch", "-n", count, "train", *options)


def assert_done(result):
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one process, and the same of two."""
    runs = tmp_path_factory.mktemp("runs")
    assert_done(run(*TINYMIXER, "train", *FEW, "--out", runs / "one"))
    assert_done(launch(2, *FEW, "--out", runs / "two"))
    return runs


def test_fifty_losses_of_two_processes_are_those_of_one():
    found = {}
    for count in (1, 2):
        line = [] if count == 1 else [*MPIEXEC, "-n", count]
        result = run(*line, sys.executable, ROOT / "tests/parallel/print_losses.py")
        assert_done(result)
        found[count] = [np.array(json.loads(text)) for text in result.stdout.splitlines()]
    (one,), two = found[1], found[2]
    assert [len(losses) for losses in (one, *two)] == [50] * 3
    np.testing.assert_array_equal(two[0], two[1])  # both ranks report the same
    np.testing.assert_allclose(two[0], one, rtol=1e-5)
    assert one[-1] < 0.8 * one[0]


def test_the_run_of_two_is_that_of_one(folder):
    rows = {name: read_rows(folder / name / "metrics.jsonl") for name in ("one", "two")}
    for one, two in zip(rows["one"], rows["two"], strict=True):
        for name in ("train_loss", "validation_loss"):
            assert two[name] == pytest.approx(one[name], rel=1e-5)
        assert two["validation_accuracy"] == pytest.approx(one["validation_accuracy"], abs=0.01)
    assert rows["two"][-1]["test_loss"] == pytest.approx(rows["one"][-1]["test_loss"], rel=1e-4)
    assert (folder / "two" / "curves.png").is_file()
    assert load_checkpoint(folder / "two" / "last.npz").arithmetic["ranks"] == 2


def test_the_same_two_give_the_same_bits(folder):
    result = run(*MPIEXEC, "-n", 2, *TINYMIXER, "train", *FEW, "--out", folder / "again")
    assert_done(result)
    assert_same_checkpoint(folder / "again" / "last.npz", folder / "two" / "last.npz")
    assert result.stdout.count("finished: 2 epochs") == 1  # rank 0 alone speaks
    assert "ranks    2, on this machine, 16 images of a step each" in result.stdout


def wait_for(condition, what):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.05)


def started(out, *command):
    """A long run that has saved a checkpoint of its own. SIGINT is as in a terminal, also under a script's &."""
    last, saved = out / "last.npz", set()
    if last.exists():
        saved.add(last.stat().st_mtime_ns)
    process = subprocess.Popen(
        [str(word) for word in command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip

    def saved_again():
        if last.exists():
            saved.add(last.stat().st_mtime_ns)
        return len(saved) >= 2

    wait_for(saved_again, "a checkpoint")
    return process


def ranks_of(folder):
    """The ids of the processes that train into a folder, and not of those that started them."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    lines = [line.split() for line in listed if str(folder) in line]
    return [int(words[0]) for words in lines if "-m tinymixer train" in " ".join(words) and "-n" not in words]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("how", ["launch", "mpiexec"])
def test_a_signal_saves_and_the_run_goes_on_with_one_process_and_two(how, number, tmp_path):
    out = tmp_path / "run"
    line = [*TINYMIXER, "launch", "-n", "2"] if how == "launch" else [*MPIEXEC, "-n", "2", *TINYMIXER]
    process = started(out, *line, "train", *LONG, "--out", out)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output + errors
    assert "everything is saved. Go on with: tinymixer launch -n 2 train digits" in output + errors
    assert "Traceback" not in output + errors
    saved = load_checkpoint(out / "last.npz")
    step = saved.state.epoch * 40 + saved.state.step
    assert step >= 10
    for count in (1, 2):
        again = started(out, *TINYMIXER, "launch", "-n", count, "train", *LONG, "--out", out, "--resume")
        again.send_signal(signal.SIGTERM)
        output, errors = again.communicate(timeout=60)
        assert f"resuming after step {step} of 20000" in output + errors
        assert "goes on with other arithmetic (ranks" in output + errors
        saved = load_checkpoint(out / "last.npz")
        step = saved.state.epoch * 40 + saved.state.step


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and ps")
def test_a_killed_rank_ends_all_and_the_run_goes_on(tmp_path):
    out = tmp_path / "run"
    process = started(out, *TINYMIXER, "launch", "-n", "2", "train", *LONG, "--out", out)
    ranks = ranks_of(out)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    wait_for(lambda: not ranks_of(out), "the end of the other rank")
    assert "a process has died, and the others were ended with it" in errors
    assert f"tinymixer launch -n 2 train digits --out {out} --resume" in errors
    saved = load_checkpoint(out / "last.npz").state
    step = saved.epoch * 40 + saved.step
    again = started(out, *TINYMIXER, "train", *LONG, "--out", out, "--resume")
    again.send_signal(signal.SIGTERM)
    output, errors = again.communicate(timeout=60)
    assert f"resuming after step {step} of 20000" in output + errors


def test_bad_input_is_said_once_and_a_rank_that_fails_alone_is_named(folder, tmp_path):
    result = launch(2, *FEW, "--out", folder / "two")
    assert result.returncode == 2
    assert (result.stdout + result.stderr).count("error: ") == 1
    assert "holds a run already" in result.stderr
    for wrong, words in (["--epocs", "3"], "--epocs"), (["--out", tmp_path / "none", "--resume"], "holds no run"):
        result = run(*MPIEXEC, "-n", 2, *TINYMIXER, "train", "digits", *wrong)
        assert result.returncode == 2
        assert result.stderr.count("error: ") == 1
        assert words in result.stderr
    result = run(*MPIEXEC, "-n", 2, sys.executable, ROOT / "tests/parallel/fail_alone.py", tmp_path / "run")
    assert result.returncode != 0
    assert "rank 1 of 2 on " in result.stderr
    assert "error: this rank has no data" in result.stderr


def test_mpi_and_its_launcher_must_belong_together(tmp_path):
    """A launcher of another MPI: its variables say 4, and this MPI sees one process."""
    more = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}
    result = run(*TINYMIXER, "train", *FEW, "--out", tmp_path / "run", **more)
    assert result.returncode == 2
    assert "mpirun started 4 processes, but MPI, as mpi4py finds it, sees 1" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_watchdog_ends_a_rank_whose_others_are_gone(tmp_path):
    more = {"TINYMIXER_RANK_TIMEOUT": "2"}
    command = [*MPIEXEC, "-n", 2, sys.executable, ROOT / "tests/parallel/hang.py", tmp_path / "run"]
    started_at = time.monotonic()
    result = run(*command, **more)
    assert result.returncode != 0
    assert time.monotonic() - started_at < 60
    assert re.search(r"error: it has waited \d s for a sum over the ranks, so another rank has prob", result.stderr)
