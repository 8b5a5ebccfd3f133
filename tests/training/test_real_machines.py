"""Runs on real file systems, with signals and pictures: where something inessential fails, the run continues."""

import dataclasses
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.small_runs import Recorder, names_in, run_small, small_dataset, small_recipe
from tinymixer.errors import TrainingError
from tinymixer.files import SUFFIX
from tinymixer.training import Trainer, load_checkpoint, load_recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_folder_that_cannot_be_locked_is_trained_into(tmp_path, monkeypatch, number):
    def refuse(descriptor, flags):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    heard = Recorder()
    assert run_small(tmp_path / "run", heard, epochs=1).status == "finished"
    assert len([note for note in heard.notes if "cannot be locked" in note]) == 1


def test_where_folders_cannot_be_locked_a_file_in_them_is(tmp_path, monkeypatch):
    """As on Windows, which has no fcntl."""
    pytest.importorskip("filelock")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    trainer = Trainer(small_recipe(epochs=1), tmp_path / "run", small_dataset())
    with pytest.raises(TrainingError, match="another process is training into"):
        Trainer(small_recipe(epochs=1), tmp_path / "run", small_dataset(), resume=True)
    assert trainer.run().status == "finished"
    assert Trainer(small_recipe(epochs=1), tmp_path / "run", small_dataset(), resume=True).run().epochs == 1
    monkeypatch.setitem(sys.modules, "filelock", None)
    heard = Recorder()
    assert run_small(tmp_path / "other", heard, epochs=1).status == "finished"
    assert len([note for note in heard.notes if "filelock is not installed" in note]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not synced on Windows")
@pytest.mark.parametrize("which", ["folders", "everything"])
def test_a_file_system_without_sync_is_trained_on(tmp_path, monkeypatch, which):
    real = os.fsync

    def refuse(descriptor):
        if which == "everything" or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    heard = Recorder()
    assert run_small(tmp_path / "run", heard, epochs=2).status == "finished"
    assert len([note for note in heard.notes if "power cut" in note]) == 1


def test_a_renaming_refused_for_a_moment_is_tried_again(tmp_path, monkeypatch):
    real, refused = Path.replace, []

    def replace(self, target):
        if len(refused) < 3:
            refused.append(target)
            raise PermissionError(errno.EACCES, "Access is denied")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert run_small(tmp_path / "run", epochs=1).status == "finished"


def test_hard_links_are_not_needed(tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run_small(tmp_path / "run", epochs=2)
    assert load_checkpoint(tmp_path / "run" / "previous.npz").state.epoch == 1
    assert not [name for name in names_in(tmp_path / "run") if name.startswith(".")]


def test_what_a_start_left_that_was_killed_at_once_is_cleaned_up(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".9d5d328715e74f82{SUFFIX}").write_bytes(b"half")
    run_small(tmp_path / "run", epochs=1)
    assert not [name for name in names_in(tmp_path / "run") if name.startswith(".")]


@pytest.mark.parametrize("error", [RuntimeError("latex was not found"), ValueError("no such backend"), OSError(5, "x")])
def test_a_picture_is_no_reason_to_stop(tmp_path, monkeypatch, real_curves, error):
    def refuse(*arguments):
        raise error

    monkeypatch.setattr("tinymixer.analysis.curves.draw_curves", refuse)
    monkeypatch.setattr("tinymixer.training.reports.SECONDS_BETWEEN_PICTURES", -1.0)
    heard = Recorder()
    assert run_small(tmp_path / "run", heard).status == "finished"
    assert len([note for note in heard.notes if "curves.png is not drawn" in note]) == 1


def test_signals_that_were_ignored_stay_ignored_and_a_closed_terminal_saves(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        heard = Recorder(lambda step: os.kill(os.getpid(), signal.SIGINT))
        assert run_small(tmp_path / "ignored", heard, epochs=1).status == "finished"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    if hasattr(signal, "SIGHUP"):
        hung_up = Recorder(lambda step: os.kill(os.getpid(), signal.SIGHUP) if step == 2 else None)
        result = run_small(tmp_path / "hung-up", hung_up)
        assert (result.status, result.signal) == ("interrupted", signal.SIGHUP)
        assert load_checkpoint(tmp_path / "hung-up" / "last.npz").state.step == 2


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("../../outside", "outside"),
        ("/tmp/absolute", "tmp-absolute"),
        ("", "run"),
        ("..", "run"),
        ("a b$c", "a-b-c"),
        ("nul", "run-nul"),
        ("x" * 500, "x" * 80),
        ("C:\\x", "C-x"),
    ],
)
def test_a_recipe_s_name_makes_one_folder_in_runs(tmp_path, monkeypatch, name, folder):
    monkeypatch.chdir(tmp_path)
    recipe = dataclasses.replace(small_recipe(epochs=1), name=name)
    trainer = Trainer(recipe, None, small_dataset())
    assert trainer.folder.path == Path("runs") / folder
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_out_of_memory_says_what_is_large(tmp_path, monkeypatch, where):
    def fail(*arguments, **keywords):
        raise MemoryError("Unable to allocate 3.20 GiB for an array")

    trainer = Trainer(small_recipe(), tmp_path / "run", small_dataset())
    monkeypatch.setattr(trainer.engine, "steps" if where == "training" else "pixel_logits", fail)
    field = "batch_size 8" if where == "training" else "eval_batch_size"
    with pytest.raises(TrainingError, match=f"out of memory .*3.20 GiB.*{field}"):
        trainer.run()
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.step == 0


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked on Windows")
def test_of_three_starts_in_one_folder_one_goes_on(tmp_path):
    """And the folder is its own: config.toml, checkpoint and history are the winner's, and the run can be resumed."""
    program = (
        "import sys; from tests.training.small_runs import run_small; from tinymixer.errors import TinymixerError\n"
        "from tinymixer.training import reports; reports.try_to_draw_curves = lambda *_: None  # for the time\n"
        "try: run_small(sys.argv[1], seed=int(sys.argv[2]), epochs=2)\n"
        "except TinymixerError as error: sys.exit(str(error))"
    )
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        starts = {
            seed: subprocess.Popen(
                [sys.executable, "-c", program, str(folder), str(seed)], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for seed in (1, 2, 3)
        }
        said = {seed: process.communicate(timeout=150)[1] for seed, process in starts.items()}
        (winner,) = [seed for seed, process in starts.items() if process.returncode == 0]
        assert load_recipe(folder / "config.toml").training.seed == winner
        assert load_checkpoint(folder / "last.npz").recipe.training.seed == winner
        for seed in {1, 2, 3} - {winner}:
            assert "another process is training into" in said[seed] or "holds a run already" in said[seed]
