"""Stopped at any step and resumed, a run ends with the same bits as one never stopped."""

import dataclasses
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import (
    STEPS_PER_EPOCH,
    Recorder,
    StopAfter,
    assert_same_checkpoint,
    names_in,
    run_small,
    without_times,
)
from tinymixer.errors import CheckpointError, TrainingError
from tinymixer.training import load_checkpoint, read_rows, resolve_recipe, save_checkpoint


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Drawing would take longer than all the training here; `test_curves` looks at the pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinymixer.analysis.curves.draw_curves", lambda histories, path: path.write_bytes(b""))
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    run_small(folder)
    return folder


def assert_same_run(folder, other):
    assert_same_checkpoint(folder / "last.npz", other / "last.npz")
    assert_same_checkpoint(folder / "best.npz", other / "best.npz")
    assert without_times(read_rows(folder / "metrics.jsonl")) == without_times(read_rows(other / "metrics.jsonl"))


def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(straight, tmp_path):
    run_small(tmp_path / "same")
    assert_same_run(tmp_path / "same", straight)
    run_small(tmp_path / "other", seed=6)
    one, two = (load_checkpoint(folder / "last.npz") for folder in (straight, tmp_path / "other"))
    assert not np.array_equal(one.parameters["stem.weight"], two.parameters["stem.weight"])


@pytest.mark.parametrize("step", range(1, 3 * STEPS_PER_EPOCH))
def test_stopped_at_any_step_and_resumed(straight, tmp_path, step):
    interrupted = run_small(tmp_path / "run", StopAfter(step))
    assert interrupted.status == "interrupted"
    assert interrupted.signal == signal.SIGINT
    heard = Recorder()
    assert run_small(tmp_path / "run", heard, resume=True).status == "finished"
    assert heard.steps[0][0] == step + 1
    assert_same_run(tmp_path / "run", straight)


def test_stopped_many_times(straight, tmp_path):
    run_small(tmp_path / "run", StopAfter(2))
    for step in (3, 5, 6, 10, 14):
        assert run_small(tmp_path / "run", StopAfter(step), resume=True).status == "interrupted"
    run_small(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", straight)


@pytest.mark.parametrize("step", [4, 7, 13])
def test_a_crash_goes_back_to_the_last_save_and_leaves_one_row_per_epoch(straight, tmp_path, step):
    def crash(now):
        if now == step:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_small(tmp_path / "run", Recorder(crash), checkpoint_every_steps=3)
    rows = [row["epoch"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")]
    assert rows == list(range(1, 1 + (step - 1) // STEPS_PER_EPOCH))
    run_small(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", straight)


def test_a_crash_between_row_and_checkpoint_leaves_one_row_per_epoch(straight, tmp_path):
    run_small(tmp_path / "run", StopAfter(7))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_loss": 0.5}\n{"epoch": 3, "tr')
    run_small(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", straight)


def test_a_run_killed_before_its_first_save_starts_at_the_beginning(straight, tmp_path):
    run_small(tmp_path / "run", StopAfter(1))
    (tmp_path / "run" / "last.npz").unlink()
    (tmp_path / "run" / ".last.npz.0123456789abcdef.tinymixer-part").write_bytes(b"PK")
    run_small(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", straight)
    assert names_in(tmp_path / "run") == names_in(straight)


def test_a_finished_run_says_so_and_stays_as_it_is(straight):
    before = {path.name: path.read_bytes() for path in straight.iterdir()}
    heard = Recorder()
    result = run_small(straight, heard, resume=True)
    assert result.status == "already finished"
    assert "3 epochs" in result.message
    assert not heard.steps
    assert heard.results == [result]
    assert {path.name: path.read_bytes() for path in straight.iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path, number):
    before = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    heard = StopAfter(7, number)
    result = run_small(tmp_path / "my run", heard)
    assert result.signal == number
    assert len(heard.steps) == 7
    assert load_checkpoint(tmp_path / "my run" / "last.npz").state.step == 7 - STEPS_PER_EPOCH
    assert f"--out '{tmp_path / 'my run'}' --resume" in result.message
    assert (tmp_path / "my run" / "curves.png").exists()
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_interrupts_at_once(tmp_path):
    def twice(step):
        if step == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path / "run", Recorder(twice))
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / "run" / "last.npz").state.step == 0
    assert run_small(tmp_path / "run", resume=True).status == "finished"


def test_training_works_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run_small(tmp_path / "run", epochs=1)))
    thread.start()
    thread.join()
    assert results[0].status == "finished"


def test_another_recipe_is_refused_by_the_names_of_its_fields(tmp_path):
    run_small(tmp_path / "run", StopAfter(4))
    with pytest.raises(
        TrainingError, match=r"epochs \(3 then, 4 now\).*hidden_dim|hidden_dim.*epochs \(3 then, 4 now\)"
    ):
        run_small(tmp_path / "run", resume=True, epochs=4, hidden_dim=16)


def test_what_changes_no_number_may_change_on_resume(straight, tmp_path):
    run_small(tmp_path / "run", StopAfter(4))
    run_small(tmp_path / "run", resume=True, checkpoint_every_steps=2)
    assert_same_run(tmp_path / "run", straight)


def test_a_constant_schedule_can_be_trained_for_longer(tmp_path):
    run_small(tmp_path / "long", schedule="constant", epochs=4)
    run_small(tmp_path / "run", schedule="constant", epochs=2)
    result = run_small(tmp_path / "run", resume=True, schedule="constant", epochs=4)
    assert result.epochs == 4
    assert_same_checkpoint(tmp_path / "run" / "last.npz", tmp_path / "long" / "last.npz")
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["epoch"] for row in rows if "test_accuracy" in row] == [2, 4]  # the test images were looked at twice


def test_a_checkpoint_from_another_configuration_is_refused(straight, tmp_path):
    run_small(tmp_path / "run", StopAfter(4), hidden_dim=16)
    (tmp_path / "run" / "last.npz").write_bytes((straight / "last.npz").read_bytes())
    with pytest.raises(TrainingError, match="hidden_dim"):
        run_small(tmp_path / "run", resume=True, hidden_dim=16)


def test_where_all_checkpoints_are_lost_nothing_is_trained_over(tmp_path):
    run_small(tmp_path / "run", StopAfter(7))
    for name in ("last.npz", "previous.npz"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(CheckpointError, match=r"last.npz is missing"):
        run_small(tmp_path / "run", resume=True)


@pytest.mark.parametrize("damage", ["cut", "changed", "lost"])
def test_a_damaged_checkpoint_is_gone_on_without_and_kept(tmp_path, damage):
    """The run goes on from the checkpoint before, and ends where an unbroken one does."""
    run_small(tmp_path / "straight")
    run_small(tmp_path / "run", StopAfter(12))
    last = tmp_path / "run" / "last.npz"
    content = last.read_bytes()
    if damage == "lost":
        last.unlink()
    else:
        last.write_bytes(content[:-100] if damage == "cut" else content[:2000] + b"?" + content[2001:])
    heard = Recorder()
    run_small(tmp_path / "run", heard, resume=True)
    assert any("Going on from" in note and "previous.npz" in note for note in heard.notes), heard.notes
    assert_same_checkpoint(last, tmp_path / "straight" / "last.npz")
    assert (tmp_path / "run" / "last.damaged.npz").exists() == (damage != "lost")


def test_where_both_checkpoints_are_damaged_the_run_stays_as_it_is(tmp_path):
    run_small(tmp_path / "run", StopAfter(7))
    for name in ("last.npz", "previous.npz"):
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:-100])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(CheckpointError, match=r"last.npz cannot be read as a checkpoint"):
        run_small(tmp_path / "run", resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("damage", ["nonsense", "lost row", "changed row", "gone", "no text"])
def test_a_damaged_history_is_mended_from_the_checkpoint(tmp_path, damage):
    run_small(tmp_path / "straight")
    run_small(tmp_path / "run", StopAfter(12))
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    broken = {
        "nonsense": "nonsense\n" + lines[1],
        "lost row": lines[1],
        "changed row": lines[0].replace('"train_accuracy": ', '"train_accuracy": 1') + lines[1],
        "no text": "\udcff" + "".join(lines),
        "gone": None,
    }[damage]
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken.encode("utf-8", "surrogateescape"))
    heard = Recorder()
    run_small(tmp_path / "run", heard, resume=True)
    assert without_times(read_rows(path)) == without_times(read_rows(tmp_path / "straight" / "metrics.jsonl"))
    assert any("mended from the checkpoint" in note for note in heard.notes), heard.notes
    assert (tmp_path / "run" / "metrics.damaged.jsonl").exists() == (broken is not None)


def test_a_row_cut_short_by_a_crash_needs_no_word(tmp_path):
    run_small(tmp_path / "run", StopAfter(12))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')
    heard = Recorder()
    run_small(tmp_path / "run", heard, resume=True)
    assert not any("was mended" in note for note in heard.notes), heard.notes
    assert [row["epoch"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3]


def test_a_resumed_run_says_where_its_arithmetic_is_other(tmp_path):
    run_small(tmp_path / "run", StopAfter(4), threads=1)
    heard = Recorder()
    run_small(tmp_path / "run", heard, resume=True, threads=2, epochs=3)
    (note,) = [note for note in heard.notes if "arithmetic" in note]
    assert "threads 1 then, 2 now" in note
    assert "not bit for bit" in note
    run_small(tmp_path / "same", StopAfter(4))
    heard = Recorder()
    run_small(tmp_path / "same", heard, resume=True)
    assert not any("arithmetic" in note for note in heard.notes)


def test_an_optimizer_at_another_step_than_the_run_is_found_out(tmp_path):
    run_small(tmp_path / "run", StopAfter(7))
    last = tmp_path / "run" / "last.npz"
    checkpoint = load_checkpoint(last)
    steps = next(name for name in checkpoint.optimizer if "step" in name)
    optimizer = dict(checkpoint.optimizer) | {steps: np.asarray(checkpoint.optimizer[steps] + 1)}
    save_checkpoint(last, dataclasses.replace(checkpoint, optimizer=optimizer))
    with pytest.raises(CheckpointError, match="its optimizer after step 8"):
        run_small(tmp_path / "run", resume=True)


def test_a_resumed_run_takes_its_own_recipe(tmp_path):
    run_small(tmp_path / "run", StopAfter(4), batch_size=10)
    recipe = resolve_recipe(None, {"data": "elsewhere"}, tmp_path / "run", resume=True)
    assert (recipe.name, recipe.training.batch_size) == ("small", 10)
    assert recipe.data.data == str(Path("elsewhere").absolute())
    with pytest.raises(TrainingError, match="holds a run of the recipe 'small', not of 'digits'"):
        resolve_recipe("digits", {}, tmp_path / "run", resume=True)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        resolve_recipe(None, {}, tmp_path, resume=True)
    with pytest.raises(TrainingError, match="add --out FOLDER"):
        resolve_recipe(None, {}, None, resume=True)
