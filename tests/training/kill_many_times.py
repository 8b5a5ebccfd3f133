"""Kills a training run (SIGKILL) again and again, at random moments, and looks at what it leaves behind each time.

    python tests/training/kill_many_times.py FOLDER KILLS

A program of its own, so that the runs are forked from a process with one thread. Prints one JSON object.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.training.small_runs import run_small
from tinymixer.errors import TinymixerError
from tinymixer.files import SUFFIX
from tinymixer.training import Progress, load_checkpoint, load_model, read_rows

# Wide enough that writing the checkpoint takes a good part of the time; saved after every step.
CHOICES = {
    "epochs": 400,
    "hidden_dim": 64,
    "channels_mlp_dim": 512,
    "checkpoint_every_steps": 1,
    "batch_size": 10,
    "threads": 1,
}


class Starter(Progress):
    """Says through a pipe that the first step is about to be taken, and on demand that one has been taken."""

    def __init__(self, started: int, every_step: bool = False) -> None:
        self.started, self.every_step = started, every_step

    def on_start(self, trainer) -> None:
        os.write(self.started, b"x")

    def on_step(self, *_) -> None:
        if self.every_step:
            os.write(self.started, b"x")


def child(folder: Path, started: int, at_once: bool, every_step: bool = False) -> None:
    """Train in a forked process that never comes back to the caller's code."""
    try:
        if at_once:
            os.write(started, b"x")
        run_small(folder, Starter(started, every_step), resume=(folder / "config.toml").exists(), **CHOICES)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def start(folder: Path, at_once: bool, every_step: bool = False) -> tuple[int, int]:
    """Start a run and wait for its first sign: its process, and the pipe to read further ones from."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        child(folder, writer, at_once, every_step)
    os.close(writer)
    os.read(reader, 1)
    return process, reader


def kill_once(folder: Path, delay: float, at_once: bool) -> str:
    """Start a run; kill it `delay` seconds after its process (at_once) or its first step began. Say how it ended."""
    process, reader = start(folder, at_once)
    os.close(reader)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return "killed" if os.WIFSIGNALED(status) else f"ended with {os.WEXITSTATUS(status)}"


def seconds_of_a_step(folder: Path, steps: int = 4) -> float:
    """How long a step and its checkpoint take on this machine now, with whatever else it does."""
    process, reader = start(folder, at_once=False, every_step=True)
    began = time.perf_counter()
    for _ in range(steps):
        os.read(reader, 1)
    seconds = time.perf_counter() - began
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(reader)
    return seconds / steps


def check(folder: Path, seen: dict) -> None:
    """Everything in the folder is readable, nothing went backwards, and every epoch has one row."""
    if not (folder / "last.npz").exists():
        seen["before_the_first_save"] += 1
        return
    last = load_checkpoint(folder / "last.npz")
    load_model(folder, "last", backend="numpy")
    position = (last.state.epoch, last.state.step)
    if position < tuple(seen["position"]):
        raise AssertionError(f"went back from {seen['position']} to {position}")
    epochs = [row["epoch"] for row in read_rows(folder / "metrics.jsonl")]
    if epochs not in (list(range(1, last.state.epoch + 1)), list(range(1, last.state.epoch + 2))):
        raise AssertionError(f"rows of the epochs {epochs} beside a checkpoint after {last.state.epoch}")
    if last.state.epoch:
        load_checkpoint(folder / "best.npz")
    seen["position"] = position


def main(folder: Path, kills: int) -> None:
    draws = random.Random(7)
    seen = {"position": (0, 0), "before_the_first_save": 0}
    endings, half_written, problems = [], 0, []
    longest = max(0.12, 4 * seconds_of_a_step(folder.with_name("pace")))
    for _ in range(kills):
        endings.append(kill_once(folder, draws.uniform(0.0, longest), at_once=draws.random() < 0.3))
        half_written += any(folder.glob(f".*{SUFFIX}"))
        try:
            check(folder, seen)
        except (AssertionError, TinymixerError) as problem:
            problems.append(str(problem))
    print(json.dumps({"endings": endings, "half_written": half_written, "problems": problems} | seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
